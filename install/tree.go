package install

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"isula.org/isulad-tools/internal/open"
)

// tree is the file system below DESTDIR. Paths given to its methods are those
// the installed system will see; a symlink that leads out of DESTDIR is refused
// rather than followed, because it would change the building machine.
type tree struct {
	root *os.Root
	dir  string
}

func openTree(dir string, create bool) (*tree, error) {
	if create {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("create DESTDIR: %w", err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open DESTDIR: %w", err)
	}
	return &tree{root: root, dir: dir}, nil
}

func (t *tree) close() { t.root.Close() }

// show is the path as the person at the keyboard finds the file.
func (t *tree) show(path string) string { return filepath.Join(t.dir, path) }

// rel is path as the root's methods want it, its last element as it stands.
// os.Root refuses absolute symlinks altogether; on the running system they are
// ordinary (/var/lib/isulad -> /data), so there they are resolved first.
func (t *tree) rel(path string) (string, error) {
	dir, err := t.target(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), err
}

// target is like rel for what path leads to, should it be a symlink.
func (t *tree) target(path string) (string, error) {
	if t.dir == "/" {
		var err error
		if path, err = resolve(path); err != nil {
			return "", err
		}
	}
	return filepath.Rel("/", path)
}

// resolve follows the symlinks of dir as far as it exists.
func resolve(dir string) (string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	parent, err := resolve(filepath.Dir(dir))
	return filepath.Join(parent, filepath.Base(dir)), err
}

// lstat returns nil without an error when path does not exist.
func (t *tree) lstat(path string) (fs.FileInfo, error) {
	name, err := t.rel(path)
	if err != nil {
		return nil, err
	}
	info, err := t.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return info, err
}

// open follows symlinks that stay inside; an operator may keep a hook spec elsewhere.
func (t *tree) open(path string) (*os.File, error) {
	name, err := t.target(path)
	if err != nil {
		return nil, err
	}
	// A fifo in a file's place must not hang the installation.
	return t.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// read returns at most limit bytes of a regular file; more is an error.
func (t *tree) read(path string, limit int64) ([]byte, error) {
	f, err := t.open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return open.Content(f, int(limit))
}

// mkdir makes dir when it is missing; missing parents get 0755. What exists
// keeps its mode and owner.
func (t *tree) mkdir(dir string, mode fs.FileMode) error {
	name, err := t.target(dir)
	if err != nil {
		return err
	}
	info, err := t.root.Stat(name)
	if err == nil && !info.IsDir() {
		return &fs.PathError{Op: "mkdir", Path: t.show(dir), Err: syscall.ENOTDIR}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := t.mkdir(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := t.root.Mkdir(name, mode); err != nil {
		return err
	}
	return t.root.Chmod(name, mode) // whatever the umask
}

// temporary is where a file is written before it takes its place: one fixed
// name, so that a killed installation leaves at most this and the next one reuses it.
func temporary(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".isulad-tools-new")
}

// write puts content at path in one step: a reader, or a crash, sees the old
// file or the new one, and a running executable goes on running.
func (t *tree) write(path string, content io.Reader, mode fs.FileMode) (err error) {
	if err := t.discard(temporary(path)); err != nil {
		return err
	}
	name, err := t.rel(temporary(path))
	if err != nil {
		return err
	}
	f, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			err = errors.Join(err, t.discard(temporary(path)))
		}
	}()
	if _, err := io.Copy(f, content); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		// iSulad refuses hooks of another owner; a directory with the setgid
		// bit would give another group.
		if err := f.Chown(0, 0); err != nil {
			return err
		}
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return t.rename(temporary(path), path)
}

// discard removes a file that may be gone already.
func (t *tree) discard(path string) error {
	name, err := t.rel(path)
	if err != nil {
		return err
	}
	if err := t.root.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// link gives the file itself, not what a symlink points to, a second name.
func (t *tree) link(from, to string) error {
	return t.pair(t.root.Link, from, to)
}

func (t *tree) rename(from, to string) error {
	return t.pair(t.root.Rename, from, to)
}

func (t *tree) pair(call func(string, string) error, from, to string) error {
	oldname, err := t.rel(from)
	if err != nil {
		return err
	}
	newname, err := t.rel(to)
	if err != nil {
		return err
	}
	if err := call(oldname, newname); err != nil {
		return err
	}
	return t.sync(filepath.Dir(to))
}

// sync makes the names in dir survive a power cut.
func (t *tree) sync(dir string) error {
	f, err := t.open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
