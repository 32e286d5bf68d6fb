// Package process tells one process from another that got its pid later.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
)

// ErrGone says that a process does not exist, is just ending, or is a zombie.
var ErrGone = errors.New("no such process")

// ID names one process for as long as the machine runs: its pid and the time
// when it started, in clock ticks after boot (proc(5), stat, field 22).
type ID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// exiting is PF_EXITING of linux/sched.h: the kernel is taking the process apart,
// though its state may be running still.
const exiting = 0x4

// Find returns the process that has this pid now. ErrGone: there is none.
func Find(pid int) (ID, error) {
	if pid <= 0 {
		return ID{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	b, err := open.Read(fmt.Sprintf("/proc/%d/stat", pid), 4096)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return ID{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	if err != nil {
		return ID{}, err
	}
	// The command's name, in parentheses, may hold anything.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 20 {
		return ID{}, fmt.Errorf("/proc/%d/stat: unexpected content", pid)
	}
	if s := fields[0][0]; s == 'Z' || s == 'X' {
		return ID{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	flags, err := strconv.ParseUint(string(fields[6]), 10, 64)
	if err != nil {
		return ID{}, fmt.Errorf("/proc/%d/stat: flags: %w", pid, err)
	}
	if flags&exiting != 0 { // its root and namespaces are gone already
		return ID{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	start, err := strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return ID{}, fmt.Errorf("/proc/%d/stat: start time: %w", pid, err)
	}
	return ID{PID: pid, Start: start}, nil
}

// Lives tells whether this very process still runs.
func (id ID) Lives() bool {
	now, err := Find(id.PID)
	return err == nil && now == id
}
