package cgroup

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SetDevices replaces the device programs of a cgroup v2 directory by one for
// these rules, the last of which wins. There is no moment without a program: the
// new one is attached before the old ones are detached, or takes their place.
func SetDevices(dir string, rules []DeviceRule) error {
	program, err := compile(rules)
	if err == nil {
		err = replace(dir, program)
	}
	if err != nil {
		return fmt.Errorf("device program of %s: %w", dir, err)
	}
	return nil
}

// DeviceTags are the tags of the device programs that are attached to a cgroup v2 directory:
// each is the kernel's hash of a program's instructions.
func DeviceTags(dir string) (tags []string, err error) {
	cgroup, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	defer unix.Close(cgroup)
	programs, _, err := attached(cgroup)
	for _, fd := range programs {
		if tag := tagOf(fd); tag != "" {
			tags = append(tags, tag)
		}
		unix.Close(fd)
	}
	return tags, err
}

// tagOf is the kernel's tag of a program, "" when it tells none.
func tagOf(program int) string {
	var info struct { // the beginning of struct bpf_prog_info
		kind, id uint32
		tag      [unix.BPF_TAG_SIZE]byte
	}
	attr := struct {
		fd, size uint32
		info     unsafe.Pointer
	}{uint32(program), uint32(unsafe.Sizeof(info)), unsafe.Pointer(&info)}
	if _, err := bpf("info", unix.BPF_OBJ_GET_INFO_BY_FD, &attr); err != nil {
		return ""
	}
	return hex.EncodeToString(info.tag[:])
}

func openDir(dir string) (int, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return fd, nil
}

// replace makes program the only one that is attached to the cgroup dir.
func replace(dir string, program []insn) error {
	cgroup, err := openDir(dir)
	if err != nil {
		return err
	}
	defer unix.Close(cgroup)
	now, err := loadProgram(program)
	if err != nil {
		return err
	}
	defer unix.Close(now)
	before, flags, err := attached(cgroup)
	if err != nil {
		return err
	}
	defer func() {
		for _, fd := range before {
			unix.Close(fd)
		}
	}()
	if flags&unix.BPF_F_ALLOW_MULTI == 0 { // there can be one only: the kernel replaces it
		return attach(cgroup, now, flags, 0)
	}
	err = unix.ENOENT
	if len(before) > 0 {
		err = attach(cgroup, now, unix.BPF_F_ALLOW_MULTI|unix.BPF_F_REPLACE, before[0])
	}
	// EINVAL: the kernel is older than 5.6. ENOENT: there is nothing to replace.
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		err = attach(cgroup, now, unix.BPF_F_ALLOW_MULTI, 0)
	}
	if err != nil {
		return err
	}
	for _, fd := range before {
		if err := detach(cgroup, fd); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// bpf is bpf(2). attr is a part of union bpf_attr, which the kernel continues with
// zeros.
func bpf[T any](what string, cmd uintptr, attr *T) (int, error) {
	for try := 0; ; try++ {
		n, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
		runtime.KeepAlive(attr)
		if errno == 0 {
			return int(n), nil
		}
		// A signal stops the verifier, and Go's scheduler sends some.
		if errno != unix.EAGAIN && errno != unix.EINTR || try == 100 {
			return -1, os.NewSyscallError("bpf "+what, errno)
		}
	}
}

// loadProgram has the kernel check a program, and returns its descriptor.
func loadProgram(program []insn) (fd int, err error) {
	license := []byte("Apache-2.0\x00")
	attr := struct {
		progType, count uint32
		insns           *insn
		license         *byte
	}{unix.BPF_PROG_TYPE_CGROUP_DEVICE, uint32(len(program)), &program[0], &license[0]}
	fd, err = bpf("load", unix.BPF_PROG_LOAD, &attr)
	if errors.Is(err, unix.EPERM) {
		// Before 5.11 programs count as the user's locked memory.
		none := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
		if unix.Setrlimit(unix.RLIMIT_MEMLOCK, &none) == nil {
			fd, err = bpf("load", unix.BPF_PROG_LOAD, &attr)
		}
	}
	if err != nil {
		return -1, fmt.Errorf("%d instructions: %w", len(program), err)
	}
	return fd, nil
}

// attached opens the device programs that are attached to a cgroup, and returns
// the flags that another one must have. A program that security policy does not
// let us open is left out: it can only forbid more.
func attached(cgroup int) (programs []int, flags uint32, err error) {
	var ids [64]uint32 // BPF_CGROUP_MAX_PROGS
	query := struct {
		target, attachType, queryFlags, flags uint32
		ids                                   *[64]uint32
		count, _                              uint32
		_                                     [4]uint64 // written by 6.17 and later, whatever the size
	}{target: uint32(cgroup), attachType: unix.BPF_CGROUP_DEVICE, ids: &ids, count: uint32(len(ids))}
	if _, err := bpf("query", unix.BPF_PROG_QUERY, &query); err != nil {
		return nil, 0, err
	}
	for _, id := range ids[:query.count] {
		fd, err := bpf("open", unix.BPF_PROG_GET_FD_BY_ID, &struct{ id uint32 }{id})
		switch {
		case err == nil:
			programs = append(programs, fd)
		case !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOENT):
			for _, fd := range programs {
				unix.Close(fd)
			}
			return nil, 0, err
		}
	}
	if query.count == 0 {
		query.flags = unix.BPF_F_ALLOW_MULTI
	}
	return programs, query.flags, nil
}

// attachment is what BPF_PROG_ATTACH and BPF_PROG_DETACH are told.
type attachment struct {
	cgroup, program, attachType, flags, replaced uint32
}

func attach(cgroup, program int, flags uint32, replaced int) error {
	a := attachment{uint32(cgroup), uint32(program), unix.BPF_CGROUP_DEVICE, flags, uint32(replaced)}
	_, err := bpf("attach", unix.BPF_PROG_ATTACH, &a)
	return err
}

func detach(cgroup, program int) error {
	a := attachment{cgroup: uint32(cgroup), program: uint32(program), attachType: unix.BPF_CGROUP_DEVICE}
	_, err := bpf("detach", unix.BPF_PROG_DETACH, &a)
	return err
}
