package units

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/nsenter"
)

// threads are the mount namespaces of this process's threads.
func threads(t testing.TB) map[string]string {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	must(t, err)
	all := map[string]string{}
	for _, task := range tasks {
		ns, err := os.Readlink(filepath.Join("/proc/self/task", task.Name(), "ns/mnt"))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EACCES) {
			continue // it ended, or just ends
		}
		must(t, err)
		all[task.Name()] = ns
	}
	return all
}

// abroad are the threads that are in another mount namespace than ours.
func abroad(t testing.TB) (list []string) {
	t.Helper()
	home, err := os.Readlink("/proc/self/ns/mnt") // of the start-up thread
	must(t, err)
	for id, ns := range threads(t) {
		if ns != home {
			list = append(list, id)
		}
	}
	return list
}

// allHome waits until no thread is abroad: one ends with its goroutine, a little
// after Close.
func allHome(t testing.TB) {
	t.Helper()
	if !sandbox.Await(func() bool { return len(abroad(t)) == 0 }) {
		t.Errorf("threads %v stay in another namespace", abroad(t))
	}
}

func TestAThreadInANamespaceEndsAndNoOtherEntersIt(t *testing.T) {
	h := hold(t, nil, pivoted)
	noCollector(t)
	there, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", h.pid))
	must(t, err)
	before, fds := len(threads(t)), descriptors(t)
	for range 50 {
		m, err := nsenter.EnterMount(h.pid)
		must(t, err)
		tid := 0
		must(t, m.Do(func() error { tid = unix.Gettid(); return nil }))
		// Not from a list of all threads: the kernel skips some while others end.
		if ns, err := os.Readlink(fmt.Sprintf("/proc/self/task/%d/ns/mnt", tid)); err != nil || ns != there {
			t.Errorf("the thread is in %s, %v, want %s", ns, err, there)
		}
		// Work of others meanwhile is done at home.
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, err := os.Stat(h.image + "/etc"); err != nil {
					t.Errorf("another goroutine does not see the host: %v", err)
				}
			})
		}
		all.Wait()
		m.Close()
	}
	allHome(t)
	if after := len(threads(t)); after > before+10 {
		t.Errorf("%d threads before, %d after 50 visits", before, after)
	}
	if after := descriptors(t); after > fds {
		t.Errorf("%d descriptors before, %d after", fds, after)
	}
}

func TestWorkIsDoneInsideWithTheHostsDescriptors(t *testing.T) {
	h := hold(t, nil, pivoted)
	m, err := nsenter.EnterMount(h.pid)
	must(t, err)
	defer m.Close()
	f, err := os.Open(hostDir(t) + "/file")
	must(t, err)
	defer f.Close()
	var content string
	must(t, m.Do(func() error {
		// The container's /proc is of its own pid namespace: not of use here.
		fd, err := unix.Open(nsenter.FD(f), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("open", err)
		}
		defer unix.Close(fd)
		b := make([]byte, 10)
		n, err := unix.Read(fd, b)
		content = string(b[:max(n, 0)])
		if err != nil {
			return err
		}
		if err := unix.Access(h.image+"/etc", unix.F_OK); !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("the host's paths are visible: %w", err)
		}
		return unix.Mount("tmpfs", "/mnt", "tmpfs", 0, "")
	}))
	if content != "hi" {
		t.Errorf("through the descriptor it read %q", content)
	}
	if at := h.mountAt(t, "/mnt"); !strings.Contains(at, "fs=tmpfs") {
		t.Errorf("the container has %q at /mnt", at)
	}
	if strings.Contains(allMounts(t), h.image+"/mnt") {
		t.Error("the host has the mount, too")
	}
}

func TestErrorsComeBackFromTheThread(t *testing.T) {
	h := hold(t, nil)
	m, err := nsenter.EnterMount(h.pid)
	must(t, err)
	defer m.Close()
	if err := m.Do(func() error { return errTest }); !errors.Is(err, errTest) {
		t.Errorf("%v, want %v", err, errTest)
	}
	must(t, m.Do(func() error { return nil })) // and it goes on
	var all sync.WaitGroup
	n := 0
	for range 20 {
		all.Go(func() {
			if err := m.Do(func() error { n++; return nil }); err != nil { // one at a time
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n != 20 {
		t.Errorf("%d of 20 done", n)
	}
}

func TestANamespaceThatCannotBeEnteredIsAnErrorAndNoThread(t *testing.T) {
	if _, err := nsenter.EnterMount(1 << 30); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of no process: %v, want ErrNotExist", err)
	}
	allHome(t)
}
