// Package hostpath opens paths of the host in which containers may have put symbolic
// links: whoever opens a path says which links are followed.
package hostpath

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
)

// maxLinks is how many links of a path the kernel follows.
const maxLinks = 40

// Link is a symbolic link on the way to a file.
type Link struct {
	Dir    *os.File // the open directory that it is in
	Path   string
	Target string // what it says
}

// Open opens, for nothing (O_PATH), the file or directory p of the host. Each link on
// the way is shown to follow before it is followed; an error of that ends it.
//
// In the end the kernel opens a path without links, or nothing: a link that is put
// there meanwhile is shown, too.
func Open(p string, follow func(Link) error) (*os.File, error) {
	at := path.Clean(p)
	for range maxLinks + 1 {
		fd, err := openNoLinks(at)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), p), nil
		case !errors.Is(err, unix.ELOOP):
			return nil, &os.PathError{Op: "open", Path: p, Err: err}
		}
		if at, err = expand(at, follow); err != nil {
			return nil, err
		}
	}
	return nil, &os.PathError{Op: "open", Path: p, Err: unix.ELOOP}
}

// openNoLinks opens a path. ELOOP: there is a link in it.
func openNoLinks(p string) (fd int, err error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	for range 128 {
		fd, err = unix.Openat2(unix.AT_FDCWD, p, &how)
		// EAGAIN: the kernel saw a rename on the way (openat2(2)).
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	if !errors.Is(err, unix.ENOSYS) { // before Linux 5.6
		return fd, err
	}
	if fd, err = unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
		return -1, err
	}
	link := false
	err = walk(p, func(_, f *os.File, _, _ string) (on bool, err error) {
		if link, err = isLink(f); link || err != nil {
			return false, err
		}
		unix.Close(fd)
		fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		return err == nil, err
	})
	if err == nil && link {
		err = unix.ELOOP
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

// expand returns p with the first link in it replaced by what that says.
func expand(p string, follow func(Link) error) (expanded string, err error) {
	expanded = p // when the link is gone
	err = walk(p, func(dir, f *os.File, before, after string) (bool, error) {
		if link, err := isLink(f); err != nil || !link {
			return true, err
		}
		target, err := readLink(dir, f)
		if err == nil {
			err = follow(Link{dir, strings.TrimSuffix(p, after), target})
		}
		if expanded = target + after; !path.IsAbs(target) {
			expanded = before + expanded
		}
		return false, err
	})
	return expanded, err
}

// walk opens the elements of p, none of which it follows. visit is told the directory
// of each and the text of p before and after it, and says whether to go on.
func walk(p string, visit func(dir, f *os.File, before, after string) (bool, error)) error {
	dir, err := open.File("/", unix.O_PATH|unix.O_DIRECTORY, 0)
	defer func() { dir.Close() }()
	on := err == nil
	for end := 0; on && end < len(p); {
		begin := end
		for begin < len(p) && p[begin] == '/' {
			begin++
		}
		if end = begin; end == len(p) {
			break
		}
		for end < len(p) && p[end] != '/' {
			end++
		}
		var f *os.File
		if f, err = open.At(dir, p[begin:end], unix.O_PATH|unix.O_NOFOLLOW, 0); err != nil {
			return err
		}
		on, err = visit(dir, f, p[:begin], p[end:])
		dir.Close()
		dir = f
	}
	return err
}

func isLink(f *os.File) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return st.Mode&unix.S_IFMT == unix.S_IFLNK, os.NewSyscallError("fstat", err)
}

// readLink returns what an open link of dir says. Those of /proc say less than they do.
func readLink(dir, link *os.File) (string, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &fs); err != nil {
		return "", os.NewSyscallError("fstatfs", err)
	}
	if base := path.Base(link.Name()); fs.Type == unix.PROC_SUPER_MAGIC && base != "self" && base != "thread-self" {
		return "", fmt.Errorf("%s leads through /proc to an open file of a process: give the path of that file", link.Name())
	}
	text := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(link.Fd()), "", text)
	return string(text[:max(n, 0)]), os.NewSyscallError("readlinkat", err)
}
