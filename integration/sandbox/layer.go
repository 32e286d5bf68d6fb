package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// layers are overlays over the host's file systems, which take what the sandbox
// changes.
type layers struct {
	dir    string   // what the overlays need is below
	hidden []string // what they hide
}

// layer mounts at target a writable view of the file system at lower, without
// what is hidden there.
func (l layers) layer(lower, target string) error {
	dir, err := os.MkdirTemp(l.dir, "layer-")
	if err != nil {
		return err
	}
	upper, work, hide := filepath.Join(dir, "upper"), filepath.Join(dir, "work"), filepath.Join(dir, "hide")
	for _, d := range []string{upper, work, hide, target} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink(lower, filepath.Join(dir, "lower")); err != nil {
		return err
	}
	if err := errors.Join(alike(upper, lower), alike(hide, lower)); err != nil {
		return err
	}
	lowers := escape.Replace(lower)
	for _, p := range l.hidden {
		if p != lower && within(p, lower) {
			if err := whiteout(hide, lower, p); err != nil {
				return err
			}
			lowers = escape.Replace(hide) + ":" + escape.Replace(lower)
		}
	}
	err = mount("overlay", target, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lowers, upper, work))
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w (the kernel's log says why; it makes no overlay over two others)", err)
	}
	return err
}

// escape is for the paths in overlay's options, where these separate.
var escape = strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`)

// whiteout makes path, which is below lower, missing in the overlay that has the layer hide
// over it. A test may make it and remove it: that is done in a layer over hide, so that
// what the host makes there meanwhile stays hidden.
func whiteout(hide, lower, path string) error {
	names := strings.Split(strings.Trim(strings.TrimPrefix(path, lower), "/"), "/")
	for i := range names[:len(names)-1] {
		rel := filepath.Join(names[:i+1]...)
		dir := filepath.Join(hide, rel)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := alike(dir, filepath.Join(lower, rel)); err != nil {
			return err
		}
	}
	// The overlay's own mark of what has been deleted: a device 0:0.
	path = filepath.Join(hide, filepath.Join(names...))
	if err := unix.Mknod(path, unix.S_IFCHR, 0); err != nil {
		return &os.PathError{Op: "mknod", Path: path, Err: err}
	}
	return nil
}

// alike gives a folder the mode and the owner of another.
func alike(dir, other string) error {
	var s unix.Stat_t
	if err := unix.Stat(other, &s); err != nil {
		return &os.PathError{Op: "stat", Path: other, Err: err}
	}
	if err := os.Chown(dir, int(s.Uid), int(s.Gid)); err != nil {
		return err
	}
	if err := unix.Chmod(dir, s.Mode&0o7777); err != nil {
		return &os.PathError{Op: "chmod", Path: dir, Err: err}
	}
	return nil
}

// layersFD is where the test process has the folder of the layers.
const layersFD = 3

// Changed is every file that the sandbox changed on the host's file systems, as
// it is now, by its path: from its start, and whatever was mounted since. The
// host's own changes are not among them. A file that was removed is a device 0:0.
func Changed() (map[string]Node, error) {
	dir := fmt.Sprintf("/proc/self/fd/%d", layersFD)
	found, err := filepath.Glob(dir + "/layer-*")
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errors.New("this process is not the test process of a sandbox")
	}
	all := map[string]Node{}
	for _, layer := range found {
		lower, err := os.Readlink(filepath.Join(layer, "lower"))
		if err != nil {
			return nil, err
		}
		tree, err := Tree(filepath.Join(layer, "upper"), nil)
		if err != nil {
			return nil, err
		}
		for p, n := range tree {
			all[filepath.Join(lower, p)] = n
		}
	}
	return all, nil
}
