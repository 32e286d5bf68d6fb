package rootfs

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/undo"
)

// envChild makes the test binary the init of a container: with a user namespace
// and a tmpfs of its own at the path that it says.
const envChild = "ROOTFS_TEST_MOUNT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(envChild); dir != "" {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("ready")
		_, _ = os.Stdin.Read(make([]byte, 1)) // until the parent ends
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A file system that was mounted in a user namespace knows no ids but its own,
// not even the host's root.
func TestCreateOnMountOfUserNamespace(t *testing.T) {
	if testing.Short() {
		// Under user-mode emulation the kernel cannot execute this binary.
		t.Skip("-short: nothing is executed")
	}
	const id = 100000
	dir, err := os.MkdirTemp("", "rootfs-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // for the container's root
		t.Fatal(err)
	}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 65536}}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envChild+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: ids, GidMappings: ids,
		Credential: &syscall.Credential{},
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}()
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("child: %q", line)
	}

	root, err := OfProcess(cmd.Process.Pid, "the container", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var u undo.Stack
	f, err := root.Create(dir+"/a/b/f", Owner{UID: id, GID: id + 1}, &u)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	for p, mode := range map[string]uint32{"/a": unix.S_IFDIR | 0o755, "/a/b": unix.S_IFDIR | 0o755, "/a/b/f": unix.S_IFREG | 0o644} {
		t.Run(p, func(t *testing.T) {
			f, err := root.Open(dir+p, unix.O_PATH|unix.O_NOFOLLOW)
			if err != nil {
				t.Fatal(err)
			}
			var st unix.Stat_t
			if err := unix.Fstat(int(f.Fd()), &st); err != nil {
				t.Fatal(err)
			}
			f.Close()
			if st.Mode != mode || st.Uid != id || st.Gid != id+1 {
				t.Errorf("%s: mode %o of %d:%d, want %o of %d:%d", p, st.Mode, st.Uid, st.Gid, mode, id, id+1)
			}
		})
	}
}
