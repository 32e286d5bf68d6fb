#!/bin/sh
# One disk of each kind that the kernel names in its own way. Run in the test
# machine, before the tests that look at them; hot0 and hot1 are 32 MiB each.
set -eu
modprobe -a loop nvme sd_mod dm_mod raid1
modprobe scsi_debug dev_size_mb=16 num_parts=2
qmp device_add '{"driver":"nvme","drive":"hot0","serial":"n0","id":"n0"}'
qmp device_add '{"driver":"virtio-blk-pci","drive":"hot1","id":"v1"}'

# there NAME: wait for the kernel to have the disk.
there() {
    n=0
    until [ -b "/dev/$1" ]; do
        n=$((n + 1))
        [ $n -lt 100 ] || { echo "disks: no $1" >&2; exit 1; }
        sleep 0.1
    done
}
there sda2; there nvme0n1; there vdb
for d in nvme0n1 vdb; do
    printf 'label: dos\n,8M\n,8M\n' | sfdisk -q "/dev/$d"
done
there nvme0n1p2; there vdb2

disk() { truncate -s 16M "/run/$1"; losetup -P -f --show "/run/$1"; }
l=$(disk parts)
printf 'label: dos\n,8M\n' | sfdisk -q "$l"
there "${l#/dev/}p1"

a=$(disk a) b=$(disk b)
dmsetup create plain --table "0 8192 linear /dev/sda1 0"
dmsetup create volume --uuid LVM-0123456789 --table "0 8192 linear /dev/sda2 0"
dmsetup create upper --table "0 4096 linear /dev/dm-0 0"
mdadm --build /dev/md0 --run --level=1 --raid-devices=2 "$a" "$b"
there md0
