//go:build vmguest

package guest

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/nsenter"
	"isula.org/isulad-tools/sysctl"
)

func init() {
	// As the program does; see internal/nsenter.
	runtime.LockOSThread()
}

// Whatever of net. the kernel lets a container's network namespace have set is set
// to something else there: the host's own value stays.
func TestNoParameterOfAContainersNetworkIsTheHosts(t *testing.T) {
	for _, module := range []string{"ip_vs", "nf_conntrack", "br_netfilter", "sctp", "mptcp_diag"} {
		_ = exec.Command("modprobe", module).Run() // some are built in
	}
	other := exec.Command("sleep", "infinity")
	other.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	})
	pid := other.Process.Pid
	set, refused := 0, 0
	for file, value := range networkParameters(t, pid) {
		key := strings.TrimPrefix(file, "/proc/sys/")
		host, err := os.ReadFile(file)
		for _, v := range otherValues(value) {
			if sysctl.Set(pid, -1, map[string]string{key: v}) != nil {
				refused++
				continue
			}
			set++
			now, e := os.ReadFile(file)
			if (err == nil) != (e == nil) || string(now) != string(host) {
				t.Errorf("%s: %q for a container made the host's %q %q", key, v, host, now)
			}
		}
	}
	t.Logf("%d values set, %d refused", set, refused)
	if set < 500 {
		t.Errorf("got %d values set, want 500 at least", set)
	}
}

// networkParameters are the files of process pid's network namespace that can be
// read, with what they say.
func networkParameters(t *testing.T, pid int) map[string]string {
	values := map[string]string{}
	err := nsenter.In(pid, []nsenter.Kind{nsenter.Net}, func() error {
		return filepath.WalkDir("/proc/sys/net", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if value, err := os.ReadFile(path); err == nil {
				values[path] = strings.TrimSpace(string(value))
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// otherValues are some that a parameter of this value may take, in whole numbers.
func otherValues(value string) []string {
	fields := strings.Fields(value)
	if len(fields) == 0 {
		return nil
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return nil
	}
	var list []string
	for _, other := range []int64{n + 1, n - 1, 1 - n} {
		if other != n {
			fields[0] = strconv.FormatInt(other, 10)
			list = append(list, strings.Join(fields, " "))
		}
	}
	return list
}
