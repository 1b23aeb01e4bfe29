// The service worker keeps the page for offline use, and gives it the headers without which WASM has no threads.

const FIRST_VISIT_MS = 2500;

// Registers it. Resolves when the page may be used: where the page has to be loaded again for its threads, never, so that
// this happens before somebody chooses a photo or not at all.
export async function readyForPhotos() {
  if (!navigator.serviceWorker) return;
  const active = navigator.serviceWorker.register("./sw.js").then(() => navigator.serviceWorker.ready).catch(() => undefined);
  if (self.crossOriginIsolated || sessionStorage.reloaded || !navigator.onLine) return;
  const waited = new Promise((found) => { setTimeout(found, FIRST_VISIT_MS, "waited"); });
  const first = await Promise.race([active, waited]);
  if (!first || first === "waited") return;
  sessionStorage.reloaded = "yes";
  location.reload();
  await new Promise(() => {});
}

// Has these files kept too: those of the runtime in use.
export async function keepOffline(files) {
  const registration = await navigator.serviceWorker?.ready;
  registration?.active?.postMessage({ keep: files });
}
