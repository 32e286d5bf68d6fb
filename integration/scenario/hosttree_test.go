package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/holder"
	"isula.org/isulad-tools/integration/sandbox"
)

// refusal is what a person reads when something would be made in a tree of the host.
const refusal = "host directory"

// folder makes a folder of the host that belongs to uid, with a file and folders in it.
func (b *box) folder(uid int) string {
	b.t.Helper()
	dir := scratch(b.t)
	for _, sub := range []string{"d", "there"} {
		check(b.t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	for _, f := range []string{"f", "d/f"} {
		check(b.t, os.WriteFile(filepath.Join(dir, f), []byte("the host's\n"), 0o644))
	}
	for _, p := range []string{".", "d", "there", "f", "d/f"} {
		check(b.t, os.Chown(filepath.Join(dir, p), uid, uid))
		check(b.t, os.Chmod(filepath.Join(dir, p), 0o755))
	}
	return dir
}

// staysAsItIs returns what requires that a tree of the host is as it is now.
func (b *box) staysAsItIs(dir string) (same func(when string)) {
	state := func() sandbox.Fingerprint {
		tree, err := sandbox.Tree(dir, nil)
		check(b.t, err)
		f := sandbox.Fingerprint{}
		for p, n := range tree {
			f[p] = n.String()
		}
		return f
	}
	before := state()
	return func(when string) {
		b.t.Helper()
		for _, d := range before.Diff(state()) {
			b.t.Errorf("%s: the host's tree has %s", when, d)
		}
	}
}

// rootUID is the container's root user, in the host's ids.
func (b *box) rootUID() int {
	if b.mapped {
		return int(idMaps[0].HostID)
	}
	return 0
}

// nested has folders in folders that are granted, too. A mount point that is missing
// there is made on the host: where the container's root may, and as that.
func (r *run) nested() string {
	own, hosts := r.folder(r.rootUID()), r.folder(0)
	same := r.staysAsItIs(hosts)
	inner := func() string { return r.folder(r.rootUID()) }
	r.record(recorded{Binds: []string{own + ":/g:rw", inner() + ":/g/made:rw", hosts + ":/hosts:rw", inner() + ":/hosts/there:rw"}})
	check(r.t, r.start())
	defer func() {
		r.stop()
		r.record(recorded{})
	}()
	if r.noWay() {
		return refused
	}
	live := inner()
	r.does([]string{"add-path", NAME, live + ":/g/live/deep"}, fmt.Sprintf("Add path (%s) to container(%s,/g/live/deep) done.", live, NAME))
	file := filepath.Join(inner(), "f")
	r.does([]string{"add-path", NAME, file + ":/g/file"}, fmt.Sprintf("Add path (%s) to container(%s,/g/file) done.", file, NAME))
	r.works("cat /g/f /g/made/f /hosts/there/f /g/live/deep/f /g/file >/dev/null")
	for path, mode := range map[string]string{"made": "d 0755", "live": "d 0755", "live/deep": "d 0755", "file": "f 0644"} {
		is, err := sandbox.Lstat(filepath.Join(own, path))
		check(r.t, err)
		if want := fmt.Sprintf("%s %d:%d", mode, r.rootUID(), r.rootUID()); is.String() != want {
			r.t.Errorf("the mount point %s is %s, want %s", path, is, want)
		}
	}
	if r.mapped {
		r.refuses([]string{"add-path", NAME, inner() + ":/hosts/new"}, refusal, "/hosts", "permission denied")
	}
	same("paths added below")
	r.does([]string{"remove-path", NAME, live + ":/g/live/deep"}, fmt.Sprintf("Remove path (%s) from container(%s,/g/live/deep) done", live, NAME))
	r.works("test ! -e /g/live/deep/f && cat /g/made/f >/dev/null")
	// The container makes a folder, that is to be granted, a link to another of the host.
	r.works("rmdir /g/there && ln -s " + hosts + " /g/there")
	r.refuses([]string{"add-path", NAME, own + "/there:/stolen"}, own+"/there is a link", "not followed")
	r.refuses([]string{"add-path", NAME, own + "/there/new:/stolen"}, own+"/there is a link", "not followed")
	r.works("test ! -e /stolen/f")
	same("a link in a granted folder")
	return yes
}

// imageLinks has links of the image, and the container's own, into a folder of the host
// that the container may not change.
func (r *run) imageLinks() string {
	hosts, options := r.folder(0), ":rw"
	if !r.mapped {
		options = ":ro" // else its root may do anything there
	}
	same := r.staysAsItIs(hosts)
	file, dir := filepath.Join(r.folder(0), "f"), r.folder(0)
	check(r.t, os.Symlink("/hosts/d", filepath.Join(r.rootfs, "app")))
	defer os.Remove(filepath.Join(r.rootfs, "app"))
	binds := []string{hosts + ":/hosts" + options, file + ":/app/app.sh:rw", dir + ":/app/new:rw", dir + "/d:/app/a/b:rw"}
	r.record(recorded{Binds: binds})
	check(r.t, r.start())
	same("a start with paths")
	if !r.noWay() {
		r.works("test ! -e /app/app.sh && test ! -e /app/new && test ! -e /app/a")
		r.record(recorded{Binds: binds[:1]})
		for _, args := range [][]string{{"add-path", NAME, file + ":/app/app.sh"}, {"add-path", NAME, dir + ":/app/new"}, {"add-path", NAME, dir + ":/app/a/b"}} {
			r.refuses(args, refusal, "/hosts")
		}
		for _, args := range [][]string{{"add-device", "--force", NAME, "/dev/fuse:/app/f"}, {"add-device", NAME, "/dev/fuse:/app/node"}} {
			r.refuses(args, refusal, "/hosts")
		}
		if got := strings.Join(r.permitted(), "; "); strings.Contains(got, "10:229") {
			r.t.Errorf("refused, and permitted: %s", got)
		}
		same("commands")
	}
	r.stop()
	same("a stop")
	r.record(recorded{})
	if r.noWay() {
		return refused
	}
	return yes
}

// mappedOwners gives a folder of the host's root to a container with a user namespace
// so that it is its root's.
func (r *run) mappedOwners() string {
	dir := r.folder(0)
	// This machine's overlay cannot map owners.
	check(r.t, unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"))
	defer func() { check(r.t, unix.Unmount(dir, 0)) }()
	check(r.t, os.WriteFile(filepath.Join(dir, "f"), []byte("root's\n"), 0o644))
	r.record(recorded{})
	check(r.t, r.start())
	defer func() {
		r.stop()
		r.record(recorded{})
	}()
	add := []string{"add-path", NAME, dir + ":/hosts:idmap"}
	switch {
	case !r.mapped:
		r.refuses(add, "no user namespace of its own")
		return none
	case r.noWay():
		r.refuses(add, "the hook's log says why")
		return refused
	case r.kernel != holder.Running:
		r.refuses(add, "idmap", "5.12")
		return refused
	}
	try := func() {
		r.t.Helper()
		r.works(`test "$(stat -c %u:%g /hosts/f)" = 0:0 && echo more >>/hosts/f && echo new >/hosts/new && mkdir -p /hosts/made`)
		for _, path := range []string{"f", "new", "made"} {
			is, err := sandbox.Lstat(filepath.Join(dir, path))
			check(r.t, err)
			if !strings.HasSuffix(is.String(), " 0:0") {
				r.t.Errorf("on the host %s is %s, want root's", path, is)
			}
		}
	}
	r.does(add, fmt.Sprintf("Add path (%s) to container(%s,/hosts) done.", dir, NAME))
	try()
	r.stop()
	check(r.t, r.start())
	try()
	return yes
}
