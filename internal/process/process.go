// Package process tells one process from another that got its pid later, and where
// /proc has what is its.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
)

// ErrGone says that a process does not exist, is just ending, or is a zombie. One whose
// first thread has ended alone, which looks like a zombie, is there.
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

// lineSize is more than the fields of /proc/PID/stat up to the start time take.
const lineSize = 1 << 10

// ByPID returns the process that has this pid now. ErrGone: there is none.
func ByPID(pid int) (ID, error) {
	start, ended, err := threadState(pid)
	if err == nil && ended && thread(pid) == 0 {
		err = fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	if err != nil {
		return ID{}, err
	}
	return ID{PID: pid, Start: start}, nil
}

// threadState returns when the thread tid has started, and tells whether it has ended.
func threadState(tid int) (start uint64, ended bool, err error) {
	if tid <= 0 {
		return 0, false, fmt.Errorf("process %d: %w", tid, ErrGone)
	}
	b, err := open.Beginning(fmt.Sprintf("/proc/%d/stat", tid), make([]byte, lineSize))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, false, fmt.Errorf("process %d: %w", tid, ErrGone)
	}
	if err != nil {
		return 0, false, err
	}
	// The command's name, in parentheses, may hold anything.
	var fields [20][]byte // from the third on
	n := 0
	for field := range bytes.FieldsSeq(b[bytes.LastIndexByte(b, ')')+1:]) {
		if n < len(fields) {
			fields[n] = field
		}
		n++
	}
	if n < len(fields) {
		return 0, false, fmt.Errorf("/proc/%d/stat: unexpected content", tid)
	}
	flags, err := strconv.ParseUint(string(fields[6]), 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("/proc/%d/stat: flags: %w", tid, err)
	}
	start, err = strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("/proc/%d/stat: start time: %w", tid, err)
	}
	// Exiting, its root and namespaces are gone already.
	state := fields[0][0]
	return start, state == 'Z' || state == 'X' || flags&exiting != 0, nil
}

// thread returns a thread of process pid that has not ended, or 0. The kernel keeps
// the first one as a zombie until all have.
func thread(pid int) int {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if _, ended, err := threadState(tid); err == nil && !ended {
			return tid
		}
	}
	return 0
}

// Path is where /proc has something of process pid, such as "root" or "ns/mnt". A
// first thread that has ended alone has none: it is another one's.
func Path(pid int, name string) string {
	dir := fmt.Sprintf("/proc/%d/", pid)
	if _, err := os.Readlink(dir + "ns/mnt"); err != nil {
		if tid := thread(pid); tid != 0 {
			dir = fmt.Sprintf("/proc/%d/", tid)
		}
	}
	return dir + name
}

// Lives tells whether this very process still runs.
func (id ID) Lives() bool {
	now, err := ByPID(id.PID)
	return err == nil && now == id
}
