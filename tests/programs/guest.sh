#!/bin/bash
# guest.sh VMLINUZ PACKAGES OUT [NAME...]: records the programs of programs.py in a guest booted for it.
# VMLINUZ: a Debian kernel image (amd64 or arm64). PACKAGES: a folder with the .deb files, of the same
# architecture, of everything that programs.py runs and what it depends on, fetched with
#   apt-get --download-only -o Dir::Cache::archives=PACKAGES install \
#       dash coreutils bash python3 git gcc-12 binutils perl sqlite3 gawk mawk sed grep tar xz-utils \
#       make openssl strace util-linux findutils diffutils bzip2 zstd gzip file bc jq libc-bin lua5.4 \
#       m4 bison patch curl openssh-client vim-tiny tcl libc6-dev busybox ruby
# OUT: a new folder for what record.py writes. Needs qemu-system-x86_64 or -aarch64, cpio, dpkg-deb. No
# KVM, no network, no disk: the guest is an initramfs, and its console carries the recordings out, in base64.
set -euo pipefail
vmlinuz=$(realpath "$1") packages=$(realpath "$2") out=$3
shift 3
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root"/{proc,sys,dev,tmp,programs}
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$root/$folder"; done
for package in "$packages"/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --keep-directory-symlink \
        --exclude='./usr/share/doc*' --exclude='./usr/share/man*' --exclude='./usr/share/info*' \
        --exclude='./usr/share/locale*' --exclude='./usr/share/zoneinfo*'
done
if compgen -G "$packages/libc6_*_arm64.deb" > /dev/null; then
    console=ttyAMA0 machine=(qemu-system-aarch64 -M virt,gic-version=3 -cpu cortex-a57)
else
    console=ttyS0 machine=(qemu-system-x86_64 -M q35 -cpu Nehalem-v1)
    /sbin/ldconfig -r "$root"  # knows no other architecture's libraries; without its cache they are found too
fi
cp -r "$here"/{record.py,programs.py,inputs} "$root/programs"
printf 'root:x:0:0:root:/:/bin/sh\n' > "$root/etc/passwd"
cat > "$root/init" <<INIT
#!/bin/sh
export PATH=/usr/sbin:/usr/bin
busybox mount -t proc proc /proc; busybox mount -t sysfs sys /sys; busybox mount -t devtmpfs dev /dev
busybox hostname guest
python3 /programs/record.py /tmp/out $* > /dev/$console 2>&1
tar -C /tmp/out -c . | xz -T1 -6 | busybox base64 > /tmp/out.base64
(echo BEGIN-OF-RECORDING; cat /tmp/out.base64; echo END-OF-RECORDING) > /dev/$console
busybox sync; sleep 2; busybox poweroff -f
INIT
chmod 755 "$root/init"
(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) > "$work/initrd"
timeout 3600 "${machine[@]}" -accel tcg -m 3072 -display none -monitor none -nic none -nodefaults -no-reboot \
    -serial "file:$work/console" -kernel "$vmlinuz" -initrd "$work/initrd" \
    -append "console=$console panic=-1 quiet loglevel=0 rdinit=/init" || true
tr -d '\r' < "$work/console" > "$work/text"
sed '/^BEGIN-OF-RECORDING/,$d' "$work/text" | tail -n 80
mkdir -p "$out"
sed '1,/^BEGIN-OF-RECORDING/d; /^END-OF-RECORDING/,$d' "$work/text" | base64 -d | tar -xJ -C "$out"
