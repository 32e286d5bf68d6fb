package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// victimName as argv[0] makes the test binary one of the small programs below.
const victimName = "victim"

func victim(role string, args []string) int {
	var err error
	switch role {
	case "files":
		err = files(args[0])
	case "threads":
		err = threads(args[0], args[1], args[2])
	case "parent":
		cmd := exec.Command("/proc/self/exe", args...)
		cmd.Args[0] = victimName
		cmd.Stderr = os.Stderr
		err = cmd.Run()
	case "orphan":
		cmd := exec.Command("/proc/self/exe", "hang")
		cmd.Args[0] = victimName
		if err = cmd.Start(); err == nil {
			fmt.Println(cmd.Process.Pid)
		}
	case "hang":
		time.Sleep(time.Hour)
	case "channels":
		err = channels(args[0])
	case "cached":
		err = cached()
	default:
		err = fmt.Errorf("unknown role %q", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// files does fileSteps, while other goroutines keep the scheduler busy.
func files(dir string) error {
	stop := make(chan struct{})
	defer close(stop)
	for range 4 {
		go func() {
			for {
				select {
				case <-stop:
					return
				default:
					runtime.Gosched()
				}
			}
		}()
	}
	d := filepath.Join(dir, "d")
	if err := os.Mkdir(d, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(d, "tmp"), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString("hello"); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(d, "new")); err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	if err := f.Chmod(0o640); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(d, "link")); err != nil {
		return err
	}
	if err := unix.Unlink(filepath.Join(d, "link")); err != nil {
		return err
	}
	fmt.Println("done")
	return nil
}

// threads makes each times directories on every one of n threads at once, and
// goes on when one fails.
func threads(dir, n, each string) error {
	count, _ := strconv.Atoi(n)
	times, _ := strconv.Atoi(each)
	var ready, all sync.WaitGroup
	ready.Add(count)
	for i := range count {
		all.Go(func() {
			runtime.LockOSThread()
			ready.Done()
			ready.Wait()
			for j := range times {
				if err := os.Mkdir(fmt.Sprintf("%s/%d-%d", dir, i, j), 0o755); err != nil {
					fmt.Fprintln(os.Stderr, err)
				}
			}
		})
	}
	all.Wait()
	return nil
}

// channels writes to everything that can be written to.
func channels(dir string) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if _, err := unix.Write(pair[0], []byte("x")); err != nil {
		return err
	}
	if err := unix.Sendto(pair[0], []byte("x"), 0, nil); err != nil {
		return err
	}
	event, err := unix.Eventfd(0, 0)
	if err != nil {
		return err
	}
	if _, err := unix.Write(event, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		return err
	}
	route, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	if err := unix.Sendto(route, make([]byte, 16), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	null, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := null.WriteString("x"); err != nil {
		return err
	}
	fd, err := unix.Open(filepath.Join(dir, "f"), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	_, err = unix.Pwrite(fd, []byte("x"), 0)
	return err
}

// cached opens what the kernel's cache surely has, from it only and then from anywhere,
// and prints the errors.
func cached() error {
	for _, resolve := range []uint64{resolveCached, 0} {
		fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve})
		fmt.Println(err)
		if err == nil {
			unix.Close(fd)
		}
	}
	return nil
}
