#!/bin/bash
# Makes a look-alike of a stock Ubuntu cloud image from Debian packages, with Ubuntu's disk layout:
#
#   jammy   p14 BIOS boot, p15 ESP (UEFI), p1 root (cloudimg-rootfs)                    bookworm
#   noble   p14 BIOS boot, p15 ESP (UEFI), p16 /boot (BOOT), p1 root (cloudimg-rootfs)  trixie
#
# Usage: stock-image.sh LAYOUT SOURCES APT_OPTIONS OUTPUT
#   SOURCES      deb822 file naming the archive; the image keeps it, in its release's own form
#   APT_OPTIONS  apt.conf lines for the build alone (a proxy, say); nothing of them stays
#   OUTPUT       the qcow2 file; OUTPUT.manifest lists its packages
#
# Needs root, and of the host's kernel loop devices and ext4: no partition parser, no vfat.
set -euo pipefail

# Everything is mounted in a mount namespace of our own: whatever ends this script, even KILL, takes
# the mounts with it, and with them the loop devices (mount -o loop sets autoclear).
if [ "${STOCK_IMAGE_UNSHARED:-}" != "$$" ]; then
    export STOCK_IMAGE_UNSHARED=$$
    exec unshare --mount --propagation private -- bash "$0" "$@"
fi

layout=$1 sources=$2 apt_options=$3 output=$4
sector=512
esp_start=10240 esp_sectors=217088          # 106 MiB
boot_start=227328 boot_sectors=1869825      # noble's: 913 MiB
case $layout in
    jammy) suite=bookworm mib=2252 root_start=227328 ;;
    noble) suite=trixie mib=3584 root_start=2099200 ;;
    *) echo "unknown layout: $layout (expected jammy or noble)" >&2; exit 2 ;;
esac

work=$(mktemp -d "$(dirname "$output")/.stock-$layout.XXXXXX")
disk=$work/disk.raw
root=$work/root

clean_up() {
    umount --recursive "$root" 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step() {
    printf '%4d s  %s\n' "$SECONDS" "$*"
}

put_le() { # FILE OFFSET WIDTH VALUE: little-endian number into a file
    local i
    for ((i = 0; i < $3; i++)); do
        printf '%b' "\\x$(printf %02x $(($4 >> 8 * i & 255)))"
    done | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

step "partition table of $layout"
truncate -s "${mib}M" "$disk"
table=(-n 14:2048:10239 -t 14:ef02 -n "15:$esp_start:$((esp_start + esp_sectors - 1))" -t 15:ef00)
if [ "$layout" = noble ]; then
    table+=(-n "16:$boot_start:$((boot_start + boot_sectors - 1))" -t 16:ea00)
fi
sgdisk "${table[@]}" -n "1:$root_start:0" -t 1:8300 "$disk" >/dev/null
root_sectors=$(sgdisk -i 1 "$disk" | sed -n 's/^Partition size: \([0-9]*\) sectors.*/\1/p')

# The features of the releases' own images, whatever the host's mke2fs would choose by itself: a
# newer one adds features that these boot loaders and kernels cannot read.
cat > "$work/mke2fs.conf" <<CONF
[defaults]
    base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
    blocksize = 4096
    inode_size = 256
    inode_ratio = 16384
[fs_types]
    ext4 = {
        features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
    }
CONF
make_ext4() { # LABEL START SECTORS
    MKE2FS_CONFIG=$work/mke2fs.conf mkfs.ext4 -q -F -L "$1" -E "offset=$(($2 * sector))" \
        "$disk" $(($3 * sector / 1024))k
}
mount_partition() { # START SECTORS DIRECTORY
    local where
    where=offset=$(($1 * sector)),sizelimit=$(($2 * sector))
    mount -o "loop,discard,barrier=0,$where" "$disk" "$3"
}
# Both before the first mount: mke2fs refuses a file that is mounted.
make_ext4 cloudimg-rootfs "$root_start" "$root_sectors"
if [ "$layout" = noble ]; then
    make_ext4 BOOT "$boot_start" "$boot_sectors"
fi
mkdir "$root"
mount_partition "$root_start" "$root_sectors" "$root"
boot_mount=$root boot_offset=$((root_start * sector))
if [ "$layout" = noble ]; then
    mkdir "$root/boot"
    mount_partition "$boot_start" "$boot_sectors" "$root/boot"
    boot_mount=$root/boot boot_offset=$((boot_start * sector))
fi

step "packages of $suite"
packages=(
    linux-image-cloud-amd64 initramfs-tools zstd
    # What a retrofit trips over is here on purpose: boot loaders for both firmwares, signed as
    # shipped, and packages that rebuild the initramfs.
    grub-pc grub-efi-amd64-bin grub-efi-amd64-signed shim-signed cryptsetup-initramfs
    cloud-init cloud-guest-utils cloud-initramfs-growroot
    systemd-sysv systemd-resolved systemd-timesyncd libpam-systemd dbus udev kmod netplan.io
    openssh-server sudo apparmor unattended-upgrades polkitd
    iproute2 iputils-ping nftables iptables ethtool procps psmisc
    ca-certificates curl gnupg lsb-release locales tzdata netbase
    less nano file bash-completion rsync cron logrotate python3
)
mapfile -t lines < "$apt_options"
options=()
for line in "${lines[@]}"; do
    options+=("--aptopt=$line")
done
# grub-pc must not ask for a disk to install itself to.
printf 'grub-pc grub-pc/install_devices_empty boolean true\n' > "$work/debconf"
mmdebstrap --mode=root --variant=minbase --skip=check/empty --quiet \
    --include="$(IFS=, && echo "${packages[*]}")" \
    --aptopt='APT::Install-Recommends "false"' "${options[@]}" \
    --dpkgopt='force-unsafe-io' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --essential-hook="chroot '$root' debconf-set-selections < '$work/debconf'" \
    "$suite" "$root" "$sources"

step "configuration"
mount --rbind --make-rslave /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
{
    printf 'LABEL=cloudimg-rootfs\t/\t ext4\tdiscard,commit=30,errors=remount-ro\t0 1\n'
    if [ "$layout" = noble ]; then
        printf 'LABEL=BOOT\t/boot\text4\tdefaults\t0 2\n'
    fi
    printf 'LABEL=UEFI\t/boot/efi\tvfat\tumask=0077\t0 1\n'
} > "$root/etc/fstab"
mkdir -p "$root/boot/efi" "$root/etc/default/grub.d"
cat > "$root/etc/default/grub.d/50-cloudimg-settings.cfg" <<CONF
GRUB_TIMEOUT=0
GRUB_TIMEOUT_STYLE=hidden
GRUB_RECORDFAIL_TIMEOUT=0
GRUB_TERMINAL="console serial"
GRUB_CMDLINE_LINUX_DEFAULT="console=tty1 console=ttyS0"
GRUB_DISABLE_OS_PROBER=true
CONF
echo debian > "$root/etc/hostname"
printf '127.0.0.1 localhost\n\n::1 ip6-localhost ip6-loopback\n' > "$root/etc/hosts"
echo 'LANG=C.UTF-8' > "$root/etc/default/locale"
cat > "$root/etc/cloud/cloud.cfg.d/90-netplan.cfg" <<CONF
system_info:
  network:
    renderers: ['netplan']
CONF
chroot "$root" systemctl --quiet enable systemd-networkd systemd-resolved ssh
rm -f "$root/etc/apt/sources.list" "$root"/etc/apt/sources.list.d/*
if [ "$layout" = noble ]; then
    install -m 0644 "$sources" "$root/etc/apt/sources.list.d/debian.sources"
else
    # bookworm and jammy still have the one-line form.
    awk -F ': ' '
        $1 == "URIs" { uris = $2 } $1 == "Suites" { suites = $2 } $1 == "Components" { parts = $2 }
        function flush(  i, n, names) {
            n = split(suites, names, " ")
            for (i = 1; i <= n; i++) print "deb " uris " " names[i] " " parts
            suites = ""
        }
        /^$/ { flush() }
        END { flush() }
    ' "$sources" > "$root/etc/apt/sources.list"
fi

step "boot loader for BIOS"
mkdir -p "$root/boot/grub/i386-pc"
cp "$root"/usr/lib/grub/i386-pc/*.{mod,lst} "$root/boot/grub/i386-pc/"
# Ubuntu's images find their root by label. 10_linux writes nothing for a root on /dev/loop[0-9], so
# the device it sees is named here, where grub-mkconfig has already looked at the real one.
cat > "$root/etc/default/grub.d/99-build.cfg" <<CONF
GRUB_DEVICE=LABEL=cloudimg-rootfs
GRUB_DISABLE_LINUX_UUID=true
CONF
chroot "$root" update-grub 2> "$work/update-grub.log" || true
rm "$root/etc/default/grub.d/99-build.cfg"
if ! grep -q 'root=LABEL=cloudimg-rootfs ro .*console=ttyS0' "$root/boot/grub/grub.cfg"; then
    echo "update-grub did not write the kernel command line that was asked for:" >&2
    cat "$work/update-grub.log" >&2
    exit 1
fi
if [ "$layout" = noble ]; then
    boot_partition=16 grub_directory=/grub
else
    boot_partition=1 grub_directory=/boot/grub
fi
chroot "$root" grub-mkimage -O i386-pc -o /boot/grub/i386-pc/core.img \
    -p "(,gpt$boot_partition)$grub_directory" biosdisk part_gpt ext2
umount --recursive "$root/dev" "$root/proc" "$root/sys"
# What grub-install does, without asking the kernel for partition devices: boot.img's first 440
# bytes are the boot code, 0x5c in it is the sector of core.img; 0x1f4 in core.img's first sector is
# where the rest of it is. The jump at 0x66 is for floppies.
cp "$root/usr/lib/grub/i386-pc/boot.img" "$work/boot.img"
put_le "$work/boot.img" $((0x5c)) 8 2048
put_le "$work/boot.img" $((0x66)) 2 $((0x9090))
put_le "$root/boot/grub/i386-pc/core.img" $((0x1f4)) 8 2049
dd if="$work/boot.img" of="$disk" bs=440 count=1 conv=notrunc status=none
dd if="$root/boot/grub/i386-pc/core.img" of="$disk" bs=$sector seek=2048 conv=notrunc status=none

step "boot loader for UEFI"
esp=$work/esp.img
truncate -s $((esp_sectors * sector)) "$esp"
mkfs.vfat -F 32 -n UEFI "$esp" >/dev/null
boot_uuid=$(blkid -p -O "$boot_offset" -s UUID -o value "$disk")
cat > "$work/grub.cfg" <<CONF
search.fs_uuid $boot_uuid root
set prefix=(\$root)'$grub_directory'
configfile \$prefix/grub.cfg
CONF
signed_grub=$root/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed
mmd -i "$esp" ::EFI ::EFI/BOOT ::EFI/debian
for directory in BOOT debian; do
    mcopy -i "$esp" "$signed_grub" "::EFI/$directory/grubx64.efi"
    mcopy -i "$esp" "$root/usr/lib/shim/mmx64.efi.signed" "::EFI/$directory/mmx64.efi"
done
mcopy -i "$esp" "$root/usr/lib/shim/shimx64.efi.signed" ::EFI/BOOT/BOOTX64.EFI
mcopy -i "$esp" "$root/usr/lib/shim/shimx64.efi.signed" ::EFI/debian/shimx64.efi
mcopy -i "$esp" "$work/grub.cfg" ::EFI/debian/grub.cfg
dd if="$esp" of="$disk" bs=$sector seek=$esp_start conv=notrunc,sparse status=none

step "clean, as shipped"
chroot "$root" dpkg-query -W > "$work/manifest"
chroot "$root" apt-get clean
rm -rf "$root"/var/lib/apt/lists/* "$root"/etc/apt/apt.conf.d/99mmdebstrap \
    "$root"/etc/dpkg/dpkg.cfg.d/99mmdebstrap "$root"/etc/ssh/ssh_host_* "$root"/tmp/* \
    "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old "$root"/var/lib/dbus/machine-id \
    "$root"/var/lib/systemd/random-seed "$root"/root/.bash_history
find "$root/var/log" -type f -delete
: > "$root/etc/machine-id"
ln -sfn ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
sync -f "$root"
fstrim "$root"
if [ "$layout" = noble ]; then
    fstrim "$root/boot"
fi
df -h --output=target,size,used,avail "$root" "$boot_mount" | sort -u
umount --recursive "$root"
e2fsck -fn "$disk?offset=$((root_start * sector))" >/dev/null

step "qcow2"
qemu-img convert -c -W -m 16 -O qcow2 "$disk" "$work/disk.qcow2"
mv "$work/manifest" "$output.manifest"
mv "$work/disk.qcow2" "$output"
step "$(basename "$output"): $(stat -c %s "$output") bytes"
