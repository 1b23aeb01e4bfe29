// Keeps the page working offline, and gives it the headers without which WASM has no threads. Every file is kept under
// its content's hash, so a new version fetches only what has changed, and never mixes with an old one.
const CACHE = "golfdeblur";
const FILES = __FILES__;
const SELDOM = /^(ort|model|heic)\/|\.txt$|\.py$/; // kept once they are used

const scope = new URL("./", self.location.href);
const keyOf = (name) => new URL(`${name}?${FILES[name].slice(0, 16)}`, scope).href;
const nameOf = (url) => url.split(/[?#]/)[0].slice(scope.href.length) || "index.html";

const coming = new Map(); // what is being fetched: once is enough

const keep = (cache, name) => {
  if (!coming.has(name)) coming.set(name, fetchAndKeep(cache, name).finally(() => coming.delete(name)));
  return coming.get(name);
};

// Fetches a file and keeps it, if it is the one of this version.
async function fetchAndKeep(cache, name) {
  if (await cache.match(keyOf(name))) return;
  const response = await fetch(new URL(name, scope), { cache: "no-cache" });
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  const bytes = await response.clone().arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hash = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hash !== FILES[name]) throw new Error(`${name} is of another version.`);
  await cache.put(keyOf(name), response);
}

self.addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open(CACHE);
    const used = new Set((await cache.keys()).map(({ url }) => nameOf(url)));
    await Promise.all(Object.keys(FILES).filter((name) => !SELDOM.test(name) || used.has(name)).map((name) => keep(cache, name)));
  })());
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) if (name.startsWith("golfdeblur-")) await caches.delete(name); // of older versions
    const cache = await caches.open(CACHE), wanted = new Set(Object.keys(FILES).map(keyOf));
    for (const { url } of await cache.keys()) if (!wanted.has(url)) await cache.delete(url);
    await self.clients.claim();
  })());
});

self.addEventListener("message", ({ data }) => {
  const names = (data.keep ?? []).filter((name) => name in FILES);
  caches.open(CACHE).then((cache) => Promise.all(names.map((name) => keep(cache, name)))).catch(() => {}); // offline: at the next visit
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(scope.href)) return;
  event.respondWith((async () => {
    const name = nameOf(request.url), cache = await caches.open(CACHE);
    if (name in FILES) await keep(cache, name).catch(() => {});
    const response = (name in FILES && await cache.match(keyOf(name))) || await fetch(request);
    const headers = new Headers(response.headers);
    headers.set("Cross-Origin-Opener-Policy", "same-origin");
    headers.set("Cross-Origin-Embedder-Policy", "require-corp");
    return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
  })());
});
