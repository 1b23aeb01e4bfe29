#!/usr/bin/env bash
# Runs the fast tests that need no torch on each Python given, with the oldest and the newest of all that we depend on.
# uv fetches the Pythons that are not here; what cannot be had is named, and is no failure.
set -euo pipefail
cd "$(dirname "$0")/.."
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
ran=0
for python in "$@"; do
  for resolution in lowest-direct highest; do
    environment=$place/$python-$resolution
    if ! uv venv --quiet --python "$python" "$environment"; then
      echo "Python $python cannot be had here."
      break
    fi
    echo "Python $python, $resolution:"
    install=(uv pip install --quiet --python "$environment" --only-binary :all:)
    "${install[@]}" --resolution "$resolution" -r pyproject.toml --extra video --extra heic
    "${install[@]}" pytest pytest-timeout pyyaml scikit-image
    uv pip list --python "$environment" 2>/dev/null | grep -iE "^(numpy|onnxruntime|pillow|tifffile|typer) " | xargs
    PYTHONPATH=src "$environment/bin/python" -m pytest -q -p no:cacheprovider
    ran=$((ran + 1))
  done
done
echo "$ran of $((2 * $#)) were run."
[ "$ran" -gt 0 ]
