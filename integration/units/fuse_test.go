package units

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/nsenter"
)

// What a file system in user space is asked (linux/fuse.h).
const (
	fuseLookup     = 1
	fuseForget     = 2
	fuseGetattr    = 3
	fuseSetattr    = 4
	fuseMknod      = 8
	fuseMkdir      = 9
	fuseUnlink     = 10
	fuseRmdir      = 11
	fuseOpen       = 14
	fuseRelease    = 18
	fuseFlush      = 25
	fuseInit       = 26
	fuseOpendir    = 27
	fuseReleasedir = 29
	fuseCreate     = 35
	fuseInterrupt  = 36
	fuseBatch      = 42
	fuseNothing    = 1 << 16 // no such question
	fuseAnything   = fuseNothing + 1
)

// server is a file system in user space with one directory. It answers everything but
// one question, or nothing.
type server struct {
	device *os.File
	silent atomic.Uint32 // the question
	asked  atomic.Bool   // it was

	mu    sync.Mutex
	nodes map[string]uint64
	modes map[uint64]uint32
	rdevs map[uint64]uint32
}

// serve mounts a file system of the container's own on its folder point, and serves it
// until the test ends. fuseAnything: not even what the kernel asks first is answered.
func (h *fakeContainer) serve(t testing.TB, point string, silent uint32) *server {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	must(t, err)
	ns, err := nsenter.EnterMount(h.pid, "container "+h.id, nil)
	must(t, err)
	defer ns.Close()
	must(t, ns.Do(func() error {
		return os.NewSyscallError("mount", unix.Mount("served", point, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd)))
	}))
	s := &server{
		device: os.NewFile(uintptr(fd), "/dev/fuse"),
		nodes:  map[string]uint64{}, modes: map[uint64]uint32{1: unix.S_IFDIR | 0o755}, rdevs: map[uint64]uint32{},
	}
	s.silent.Store(silent)
	t.Cleanup(s.end)
	if silent == fuseAnything {
		s.asked.Store(true)
		return s
	}
	go s.answer()
	return s
}

// end ends the file system: whoever waits for it gets an error.
func (s *server) end() { s.device.Close() }

func (s *server) answer() {
	question := make([]byte, 1<<20)
	for {
		n, err := s.device.Read(question)
		if err != nil {
			return // the end
		}
		op, node, unique := binary.NativeEndian.Uint32(question[4:]), binary.NativeEndian.Uint64(question[16:]), question[8:16]
		if silent := s.silent.Load(); op == silent || silent == fuseAnything {
			s.asked.Store(true)
			continue
		}
		if op == fuseForget || op == fuseBatch || op == fuseInterrupt {
			continue // which nobody answers
		}
		s.mu.Lock()
		out, errno := s.reply(op, node, question[40:n])
		s.mu.Unlock()
		head := binary.NativeEndian.AppendUint32(nil, uint32(16+len(out)))
		head = binary.NativeEndian.AppendUint32(head, uint32(-int32(errno)))
		if _, err := s.device.Write(append(append(head, unique...), out...)); err != nil && !errors.Is(err, unix.ENOENT) {
			return
		}
	}
}

func (s *server) reply(op uint32, node uint64, in []byte) ([]byte, unix.Errno) {
	u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(in[at:]) }
	name := func(at int) string { return unix.ByteSliceToString(in[at:]) }
	switch op {
	case fuseInit: // version 7.31
		return append(words(7, 31, 0, 0, 0, 4096, 0, 0), make([]byte, 32)...), 0
	case fuseLookup:
		id, ok := s.nodes[name(0)]
		if !ok {
			return nil, unix.ENOENT
		}
		return s.entry(id), 0
	case fuseGetattr:
		return append(words(0, 0, 0, 0), s.attributes(node)...), 0
	case fuseSetattr:
		if u32(0)&1 != 0 { // FATTR_MODE
			s.modes[node] = s.modes[node]&unix.S_IFMT | u32(68)&0o7777
		}
		return append(words(0, 0, 0, 0), s.attributes(node)...), 0
	case fuseMknod:
		return s.entry(s.make(name(16), u32(0), u32(4))), 0
	case fuseMkdir: // as below a set-group-ID directory
		return s.entry(s.make(name(8), unix.S_IFDIR|unix.S_ISGID|u32(0), 0)), 0
	case fuseCreate:
		return append(s.entry(s.make(name(16), u32(4), 0)), words(0, 0, 0, 0)...), 0
	case fuseUnlink, fuseRmdir:
		delete(s.nodes, name(0))
		return nil, 0
	case fuseOpen, fuseOpendir:
		return words(0, 0, 0, 0), 0
	case fuseFlush, fuseRelease, fuseReleasedir:
		return nil, 0
	}
	return nil, unix.ENOSYS
}

func (s *server) make(name string, mode, rdev uint32) uint64 {
	id := uint64(len(s.modes) + 1)
	s.nodes[name], s.modes[id], s.rdevs[id] = id, mode, rdev
	return id
}

// entry is struct fuse_entry_out; nothing in it is valid for longer than a moment.
func (s *server) entry(id uint64) []byte {
	out := binary.NativeEndian.AppendUint64(nil, id)
	return append(append(out, make([]byte, 32)...), s.attributes(id)...)
}

// attributes are struct fuse_attr.
func (s *server) attributes(id uint64) []byte {
	out := binary.NativeEndian.AppendUint64(nil, id)
	return append(append(out, make([]byte, 52)...), words(s.modes[id], 1, 0, 0, s.rdevs[id], 4096, 0)...)
}

func words(list ...uint32) []byte {
	var out []byte
	for _, w := range list {
		out = binary.NativeEndian.AppendUint32(out, w)
	}
	return out
}
