#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tries a bundle where nothing else is: a root folder with the C library, a shell and its tools, Python and the PyTorch wheel
# with what the wheel requires, and nothing of this project. Needs root (mount, chroot) and a Debian machine.
set -euo pipefail

usage() { echo "usage: tools/try_bundle.sh BUNDLE PYTHON [COMMAND]   (PYTHON: of an environment with torch; COMMAND: run in the bundle's folder, default: all that docs/run-gpu.md names)"; }
[ $# -ge 2 ] || { usage >&2; exit 2; }
bundle=$(cd "$1" && pwd) python=$2
command=${3:-'
./run inspect models/moving-shapes >/dev/null && echo "inspect: done" &&
./run generate --steps 2 --frames 9 --threads 1 --quiet --prompt "a red circle" --output /tmp/v.mp4 && echo "generate: $(wc -c </tmp/v.mp4) bytes" &&
./run gpu --rehearse --into /tmp/results --time 60; head -n 4 /tmp/results/report.md'}
# Mounts are of a namespace of its own, and gone with it before the root folder is removed: nothing that was mounted can be.
if [ -z "${DUALPARAL_TRIED_IN:-}" ]; then
  root=$(mktemp -d)
  status=0
  DUALPARAL_TRIED_IN=$root unshare --mount --propagation private "$0" "$bundle" "$python" "$command" || status=$?
  if grep -q " $root" /proc/self/mountinfo; then echo "error: $root still has mounts: it is left as it is" >&2; exit 1; fi
  rm -rf --one-file-system "$root"
  exit "$status"
fi
root=$DUALPARAL_TRIED_IN

# Programs and their libraries, as the packages list them; the rest of the packages is not needed.
packages=(libc6 libc-bin libgcc-s1 libstdc++6 dash bash coreutils sed grep findutils)
libraries=(libselinux1 libpcre2-8-0 libacl1 libattr1 libgmp10 libtinfo6 zlib1g libffi8 libbz2-1.0 liblzma5 libexpat1 libuuid1 libssl3)
for package in "${packages[@]}" "${libraries[@]}"; do
  dpkg -L "$package" | { grep -E '^(/usr)?/(s?bin|lib|lib64)/' || true; }
done | while read -r file; do
  if [ -f "$file" ] || [ -L "$file" ]; then echo "$file"; fi
done | tar -C / -c --files-from=- 2>/dev/null | tar -C "$root" -x
for folder in bin sbin lib lib64; do # one tree, as Debian has it
  mkdir -p "$root/usr/$folder"
  if [ -d "$root/$folder" ]; then cp -a "$root/$folder/." "$root/usr/$folder/" && rm -r "${root:?}/$folder"; fi
  ln -s "usr/$folder" "$root/$folder"
done
mkdir -p "$root"/{proc,dev,tmp,etc,bundle,packages,python}
ldconfig -r "$root"

# The interpreter with its own library, and the wheel with what it requires, as they are in the environment.
home=$("$python" -c 'import sys; print(sys.base_prefix)')
mount --bind -o ro "$home" "$root/python"
"$python" - "$root/packages" <<'END' | while read -r source target; do
import importlib.metadata as m, pathlib, re, sys
todo, seen = ["torch"], set()
while todo:
    name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
    if name in seen: continue
    try: found = m.distribution(name)
    except m.PackageNotFoundError: continue
    seen.add(name)
    todo += [re.match(r"[\w.-]+", r)[0] for r in found.requires or [] if "extra ==" not in r]
    tops = {f.parts[0] for f in found.files or [] if f.parts[0] not in ("..", "__pycache__")}
    for top in tops: print(found.locate_file(top), f"{sys.argv[1]}/{top}")
END
  if [ -d "$source" ]; then mkdir -p "$target" && { mountpoint -q "$target" || mount --bind -o ro "$source" "$target"; }
  elif [ -e "$source" ]; then cp "$source" "$target"; fi
done
mount --bind -o ro "$bundle" "$root/bundle"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
cat >"$root/usr/bin/python3" <<'END'
#!/bin/sh
LD_LIBRARY_PATH=/python/lib PYTHONHOME=/python PYTHONPATH=/packages${PYTHONPATH:+:$PYTHONPATH} exec /python/bin/python3 "$@"
END
chmod +x "$root/usr/bin/python3"
chroot "$root" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 /bin/sh -c "cd /bundle && $command"
