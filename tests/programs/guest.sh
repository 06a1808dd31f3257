#!/bin/bash
# guest.sh VMLINUZ PACKAGES OUT [NAME...]: records the programs of programs.py in a guest booted for it.
# VMLINUZ: a Debian kernel image (amd64). PACKAGES: a folder with the .deb files of everything that
# programs.py runs and what it depends on, fetched with
#   apt-get --download-only -o Dir::Cache::archives=PACKAGES install \
#       dash coreutils bash python3 git gcc-12 binutils perl sqlite3 gawk mawk sed grep tar xz-utils \
#       make openssl strace util-linux findutils diffutils bzip2 zstd gzip file bc jq libc-bin lua5.4 \
#       m4 bison patch curl openssh-client vim-tiny tcl libc6-dev busybox ruby
# OUT: a new folder for what record.py writes. Needs qemu-system-x86_64, cpio, dpkg-deb. No KVM, no network,
# no disk: the guest is an initramfs, and its second serial port carries the recordings out.
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
/sbin/ldconfig -r "$root"
cp -r "$here"/{record.py,programs.py,inputs} "$root/programs"
printf 'root:x:0:0:root:/:/bin/sh\n' > "$root/etc/passwd"
cat > "$root/init" <<INIT
#!/bin/sh
export PATH=/usr/sbin:/usr/bin
busybox mount -t proc proc /proc; busybox mount -t sysfs sys /sys; busybox mount -t devtmpfs dev /dev
busybox hostname guest
python3 /programs/record.py /tmp/out $* > /dev/ttyS0 2>&1
stty -F /dev/ttyS1 raw -echo -onlcr
tar -C /tmp/out -c . | xz -T1 -6 > /tmp/out.tar.xz; (cat /tmp/out.tar.xz; echo END-OF-RECORDING) > /dev/ttyS1
busybox sync; sleep 2; busybox poweroff -f
INIT
chmod 755 "$root/init"
(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) > "$work/initrd"
timeout 1800 qemu-system-x86_64 -M q35 -cpu Nehalem-v1 -accel tcg -m 3072 -display none -monitor none -nic none \
    -nodefaults -no-reboot -serial "file:$work/console" -serial "file:$work/out" -kernel "$vmlinuz" \
    -initrd "$work/initrd" -append 'console=ttyS0 panic=-1 loglevel=3 rdinit=/init' || true
tail -n 80 "$work/console"
mkdir -p "$out"
head -c "$(($(stat -c %s "$work/out") - 17))" "$work/out" | tar -xJ -C "$out"
