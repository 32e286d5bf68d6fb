package selinux

import (
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/selinux/go-selinux"
	"golang.org/x/sys/unix"
)

// initType is the type of what an init process executes.
const initType = "init_exec_t"

// initPath is the program whose label says which user, role and level go with
// initType.
const initPath = "/lib/systemd/systemd"

// initLabel is the label of a program that init executes, on this system.
func (s *system) initLabel() (string, error) {
	f, err := s.open(initPath, unix.O_PATH)
	if err != nil {
		return "", err
	}
	defer f.Close()
	label, err := labelOf(f)
	if err != nil {
		return "", fmt.Errorf("label of %s: %w", s.path(initPath), err)
	}
	context, err := selinux.NewContext(label)
	if err != nil {
		return "", fmt.Errorf("label %q of %s: %w", label, s.path(initPath), err)
	}
	if len(context) == 0 {
		return "", fmt.Errorf("label of %s: it has none", s.path(initPath))
	}
	context["type"] = initType
	return context.Get(), nil
}

// labelOf and setLabel act on what is open, also by a bare descriptor (O_PATH).
func labelOf(f *os.File) (string, error) {
	label, err := selinux.FileLabel(procFD(f))
	return label, bareError(err)
}

func setLabel(f *os.File, label string) error {
	if err := selinux.SetFileLabel(procFD(f), label); err != nil {
		return fmt.Errorf("set its label %q: %w", label, bareError(err))
	}
	return nil
}

func procFD(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// setEnforce switches the running kernel's mode, until the next boot.
func setEnforce(mode int) error {
	if !selinux.GetEnabled() { // the library would write to a file of our own
		return ErrDisabled
	}
	return selinux.SetEnforceMode(mode)
}

// isRegular refuses what is no regular file.
func isRegular(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("not a regular file")
	}
	return nil
}
