package scenario

import (
	"os"
	"path/filepath"
	"strings"

	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/place"
)

// tricks are what a container's root may think of to write where it must not.
// The last ones take mounts away.
var tricks = []string{
	"mount -o remount,bind,rw /ro",
	"mount -o remount,rw /ro",
	"mount -o remount,bind,rw /etc/scenario.conf",
	"mount -o remount,bind,rw /.sharedpath",
	"for m in /.sharedpath/*; do mount -o remount,bind,rw $m; done",
	"mkdir -p /mnt/a && mount -o bind /ro /mnt/a && mount -o remount,bind,rw /mnt/a && echo trick >/mnt/a/new",
	"mkdir -p /mnt/b && mount -o rbind /.sharedpath /mnt/b && mount -o remount,bind,rw /mnt/b && touch /mnt/b/new",
	"unshare -m sh -c 'mount -o remount,bind,rw /ro; echo trick >/ro/new'",
	"unshare -U -r -m sh -c 'mount -o remount,bind,rw /ro; echo trick >/ro/new'",
	"mount --make-rshared /; mount --make-rprivate /; mount -o remount,bind,rw /ro",
	"echo trick >/proc/1/root/ro/new",
	"chmod 777 /ro; chmod 666 /ro/f; chown 0:0 /ro /ro/f /etc/scenario.conf",
	"chmod 777 /.sharedpath; chown 0:0 /.sharedpath",
	"mkdir -p /mnt/c; mount /dev/disk /mnt/c; mount -t ext4 /dev/disk1 /mnt/c",
	"mknod /mnt/node b 7 0; mknod /.sharedpath/node c 1 1",
	"for m in /dev/sub/fuse /dev/disk; do mount -o remount,bind,rw $m; rm -f $m; done",
	"umount /etc/scenario.conf; umount -l /etc/scenario.conf",
	"umount /ro; umount -l /ro",
	"for m in /.sharedpath/*; do umount -l $m; done",
	"umount -l /.sharedpath; umount -l /.sharedpath",
}

// writes is tried after each of them.
const writes = `
echo trick >/ro/new; echo trick >>/ro/f; echo trick >>/etc/scenario.conf; rm -f /ro/f
touch /.sharedpath/new
for m in /.sharedpath/*; do echo trick >>$m; echo trick >$m/new; rm -f $m; done`

// readOnly tries them in a user namespace, where nothing of the host may become
// writable. A root that has the host's CAP_SYS_ADMIN can remount: that shows
// that the first trick is one.
func (r *run) readOnly() string {
	if r.noWay() {
		return refused
	}
	if !r.mapped {
		r.works("mount -o remount,bind,rw /ro && echo trick >/ro/new")
		check(r.t, os.Remove(filepath.Join(r.ro, "new")))
		r.works("mount -o remount,bind,ro /ro")
		return none
	}
	state := func() sandbox.Fingerprint {
		f := fingerprint(r.t)
		for _, dir := range []string{r.ro, r.file, filepath.Join(place.Master, r.id)} {
			tree, err := sandbox.Tree(dir, nil)
			check(r.t, err)
			for p, n := range tree {
				f[filepath.Join(dir, p)] = n.String()
				if n.Type != "f" {
					continue
				}
				text, err := os.ReadFile(filepath.Join(dir, p))
				check(r.t, err)
				f[filepath.Join(dir, p)] += " " + string(text)
			}
		}
		return f
	}
	before := state()
	for _, trick := range tricks {
		out, _ := r.sh(trick + writes) // it may fail or, to no effect, succeed
		for _, d := range before.Diff(state()) {
			r.t.Errorf("inside, %s: the host has %s (%s)", trick, d, out)
		}
		if strings.Contains(out, "applet not found") {
			r.t.Errorf("%s: %s", trick, out)
		}
	}
	// The container has done itself harm.
	r.stop()
	check(r.t, r.start())
	return yes
}
