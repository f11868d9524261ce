#!/usr/bin/env bash
# Builds deploy/Containerfile and runs it as deploy/compose.yaml does: not root, read-only root, no
# capability. Checks the configuration, analyses the sample radiograph, stops. Without a registry a
# Debian bookworm with its own Python 3.11 stands for python:3.11-slim. Needs root and Debian's
# debootstrap, buildah, podman, runc and dcmtk; 3 GB in FOLDER, which is kept for the next time.
#
#   scripts/gates/container.sh FOLDER [PIP.conf]
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mkdir -p "$1" && cd "$1" && pwd)
pip=$(realpath "${2:-/dev/null}")
web=8099 node=11199 base=docker.io/library/python:3.11-slim
where=(--root "$folder/store" --runroot "$folder/run")
if ! buildah "${where[@]}" images "$base" >/dev/null 2>&1; then
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$folder/base"
  ln -sf python3 "$folder/base/usr/bin/python"
  rm -rf "$folder"/base/var/cache/apt/archives/*.deb "$folder"/base/var/lib/apt/lists/*
  made=$(buildah "${where[@]}" from scratch)
  buildah "${where[@]}" copy -q "$made" "$folder/base" /
  buildah "${where[@]}" commit -q "$made" "$base"
fi
# The builder's own registries and certificates; nothing of them stays in the image.
buildah "${where[@]}" bud --pull-never --network host --isolation chroot -t hilum \
  --volume /etc/resolv.conf:/etc/resolv.conf:ro --volume /etc/ssl/certs:/etc/ssl/certs:ro \
  --volume "$pip:/etc/pip.conf:ro" -f "$here/deploy/Containerfile" "$here"
podman() { command podman "${where[@]}" --cgroup-manager=cgroupfs --runtime runc "$@"; }
run=(run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --network host
  --ulimit nofile=4096:4096 --ulimit nproc=4096:4096
  -v hilum:/var/lib/hilum -e "HILUM_SERVE_WEB__PORT=$web" -e "HILUM_SERVE_NODE__PORT=$node")
podman "${run[@]}" --rm hilum --check
podman "${run[@]}" -d --replace --name hilum-gate hilum >/dev/null
trap 'podman rm -f hilum-gate >/dev/null' EXIT
curl -sf --retry 60 --retry-delay 1 --retry-all-errors "http://127.0.0.1:$web/health/ready"
echoscu -aec HILUM 127.0.0.1 "$node"
podman exec hilum-gate sh -c '! touch /opt/x 2>/dev/null && [ "$(id -u)" != 0 ]'
python3 - "http://127.0.0.1:$web/api/v1" <<'LOOK'
import json, sys, time
from urllib.request import Request, urlopen

def ask(path, method="GET"):
    return json.load(urlopen(Request(sys.argv[1] + path, method=method)))

id = ask("/sample", "POST")["images"][0]["id"]
deadline = time.monotonic() + 300
while (seen := ask(f"/images/{id}"))["state"] in ("received", "checked"):
    assert time.monotonic() < deadline, seen["state"]
    time.sleep(1)
print(seen["state"], seen["score"], *(sorted(r["images"][0]["files"]) for r in seen["results"].values()))
sys.exit(seen["state"] != "analysed")
LOOK
podman stop -t 30 hilum-gate >/dev/null
[ "$(podman inspect hilum-gate --format '{{.State.ExitCode}}')" = 0 ]
command podman "${where[@]}" images hilum
