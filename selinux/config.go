package selinux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/atomicfile"
	"isula.org/isulad-tools/internal/rootfs"
)

const (
	configDir  = "/etc/selinux"
	configName = "config"
	configPath = configDir + "/" + configName

	maxConfig = 64 << 10

	modeKey = "SELINUX"
	typeKey = "SELINUXTYPE"

	disabled   = "disabled"
	permissive = "permissive"
)

// ErrDisabled says that SELinux is switched off, so that there is nothing to do.
var ErrDisabled = errors.New("SELinux is disabled")

// validPolicy tells whether a policy's name can be part of a path.
func validPolicy(name string) bool {
	return name != "" && !strings.HasPrefix(name, ".") && !strings.ContainsFunc(name, func(c rune) bool {
		return c <= ' ' || c == '/' || c > '~'
	})
}

// system is a directory that holds an installed system: the host's /, or another.
type system struct {
	root *rootfs.Root
	dir  string
}

func openSystem(dir string) (*system, error) {
	host, err := rootfs.OfProcess(os.Getpid(), "this host", nil)
	if err != nil {
		return nil, err
	}
	defer host.Close()
	root, err := host.Sub(dir)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: bareError(err)}
	}
	return &system{root, dir}, nil
}

func (s *system) close() { s.root.Close() }

// path is how people call what is p below the system's root.
func (s *system) path(p string) string { return filepath.Join(s.dir, p) }

// open is Root.Open with people's name for the file in the error.
func (s *system) open(p string, flags int) (*os.File, error) {
	f, err := s.root.Open(p, flags)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: s.path(p), Err: bareError(err)}
	}
	return f, nil
}

// config returns the text of the system's SELinux configuration.
func (s *system) config() (text string, perm os.FileMode, err error) {
	data, perm, err := s.root.Read(configPath, maxConfig)
	if err != nil {
		// Compat: relabel-no-selinux
		return "", 0, &os.PathError{Op: "open", Path: s.path(configPath), Err: bareError(err)}
	}
	return string(data), perm, nil
}

// bareError is what a system call said, without where: for another way to put that.
func bareError(err error) error {
	var number unix.Errno
	if errors.As(err, &number) {
		return number
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// setting returns the value that a configuration has for key, "" for none. As
// for libselinux the first line counts.
func setting(text, key string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			return strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	return ""
}

// isDisabled tells whether a configuration switches SELinux off.
func isDisabled(text string) bool { return strings.EqualFold(setting(text, modeKey), disabled) }

// withMode returns the configuration with another mode, its other lines as they
// were.
func withMode(text, mode string) string {
	if strings.EqualFold(setting(text, modeKey), mode) {
		return text
	}
	var b strings.Builder
	done := false
	for line := range strings.Lines(text) {
		if !done && strings.HasPrefix(strings.TrimSpace(line), modeKey+"=") {
			line, done = modeKey+"="+mode+"\n", true
		}
		b.WriteString(line)
	}
	if !done {
		if text != "" && !strings.HasSuffix(text, "\n") {
			b.WriteString("\n")
		}
		b.WriteString(modeKey + "=" + mode + "\n")
	}
	return b.String()
}

// edit replaces the configuration's text by what change makes of it, and tells
// what it was and is. It waits no longer than wait for others who do the same.
func (s *system) edit(ctx context.Context, wait time.Duration, change func(string) string) (before, after string, err error) {
	dir, err := s.open(configDir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return "", "", err
	}
	defer dir.Close()
	fd := fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	lock, err := config.LockDir(ctx, fd+"/.", wait) // with a dot: that is no link
	if err != nil {
		if errors.Is(err, config.ErrBusy) {
			err = config.ErrBusy
		}
		return "", "", fmt.Errorf("lock %s: %w", s.path(configDir), bareError(err))
	}
	defer lock.Unlock()
	before, perm, err := s.config()
	if err != nil {
		return "", "", err
	}
	after = change(before)
	if after == before {
		return before, after, nil
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), configName, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return "", "", &os.PathError{Op: "stat", Path: s.path(configPath), Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG { // a link would be replaced by a file
		return "", "", &os.PathError{Op: "save", Path: s.path(configPath), Err: errors.New("not a regular file")}
	}
	if err := atomicfile.Write(fd, configName, []byte(after), perm); err != nil {
		return "", "", &os.PathError{Op: "save", Path: s.path(configPath), Err: bareError(err)}
	}
	return before, after, nil
}

// setPermissive makes the mode at the next boot permissive. takeBack restores
// what was there, unless somebody has changed it since.
func (s *system) setPermissive(ctx context.Context, wait time.Duration) (takeBack func() error, err error) {
	before, after, err := s.edit(ctx, wait, func(text string) string { return withMode(text, permissive) })
	if err != nil {
		return nil, err
	}
	return func() error {
		_, _, err := s.edit(context.WithoutCancel(ctx), wait, func(now string) string {
			if now == after {
				return before
			}
			return now
		})
		return err
	}, nil
}
