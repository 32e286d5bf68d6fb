package packages

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

const (
	webID  = "9ecacac14121be084f52217ec95ce38f4a08fef083b94e0647ad1af8114141bc"
	webDir = "/var/lib/isulad/engines/lcr/" + webID
)

// web makes a container of iSulad's that does not run, its two disks, and the tool.
func web(t *testing.T) {
	t.Helper()
	put(t, webDir+"/config.json", `{"ociVersion":"1.0.0","process":{"env":[]},"root":{"path":"rootfs"},"linux":{}}`)
	put(t, webDir+"/config.v2.json", fmt.Sprintf(`{"CommonConfig":{"id":%q,"Name":"web"}}`, webID))
	put(t, webDir+"/hostconfig.json", `{"CgroupParent":"","Runtime":"lcr"}`)
	put(t, webDir+"/container_state.json", `{"Running":false,"Pid":0}`)
	inspect := fmt.Sprintf(`[{"Id":%q,"State":{"Running":false,"Pid":0},"HostConfig":{"CgroupParent":"","Runtime":"lcr"},"LogPath":"%s/console.log","HostsPath":"%[2]s/hosts","ResolvConfPath":"%[2]s/resolv.conf"}]`, webID, webDir)
	put(t, "/usr/local/bin/isula", "#!/bin/sh\n[ \"$2 $3\" = 'web ' ] || [ \"$2\" = web ] || { echo 'no such container'; exit 1; }\ncat <<'END'\n"+inspect+"\nEND\n")
	content, err := os.ReadFile(sandbox.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	put(t, "/usr/local/bin/isulad-tools", string(content))
	for _, path := range []string{"/usr/local/bin/isula", "/usr/local/bin/isulad-tools"} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i, path := range []string{"/dev/sdb", "/dev/sdc"} {
		if err := unix.Mknod(path, unix.S_IFBLK|0o660, int(unix.Mkdev(7, uint32(i)))); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, path := range []string{"/dev/sdb", "/dev/sdc", "/usr/local/bin/isula", "/usr/local/bin/isulad-tools"} {
			os.Remove(path)
		}
		os.RemoveAll("/var/lib/isulad")
	})
}

// host gives the host a kernel module and the folders that the examples write to.
func host(t *testing.T) {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	dir := "/lib/modules/" + unix.ByteSliceToString(u.Release[:])
	// Not every kernel can load a module, but each can have it built in.
	put(t, dir+"/modules.builtin", "kernel/net/netfilter/ipvs/ip_vs.ko\n")
	put(t, dir+"/modules.order", "")
	run(t, "depmod")
	for _, dir := range []string{"/usr/share/bash-completion/completions", "/host"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// rank is the order in which examples make sense: first what adds, last what removes.
func rank(command string) int {
	for i, verb := range []string{"add-", "update-", "list-", "", "remove-"} {
		if verb != "" && strings.HasPrefix(command, verb) {
			return i
		}
	}
	return 3
}

func TestTheExamplesOfTheManualDoWhatTheySay(t *testing.T) {
	web(t)
	host(t)
	type example struct{ command, line string }
	var all []example
	for _, command := range commands(t) {
		for _, line := range strings.Split(tool(t, "manual", command), "\n") {
			if text, ok := strings.CutPrefix(line, ".Dl "); ok {
				all = append(all, example{command, strings.NewReplacer(`\-`, "-", `\(dq`, `"`, `\e`, `\`).Replace(text)})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b example) int {
		// What is removed last was added first: an interface after its routes.
		by := cmp.Compare(a.command, b.command)
		if rank(a.command) == rank("remove-") {
			by = -by
		}
		return cmp.Or(cmp.Compare(rank(a.command), rank(b.command)), by)
	})
	if len(all) < 20 {
		t.Fatalf("got only %v", all)
	}
	for _, e := range all {
		t.Run(e.line, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), "bash", "-c", "set -o pipefail; "+e.line).CombinedOutput()
			// SELinux is the machine's.
			if _, missing := os.Stat("/sys/fs/selinux/enforce"); e.command == "relabel" && missing != nil {
				if !strings.Contains(strings.ToLower(string(out)), "selinux") {
					t.Errorf("got %v, %s, want that it says what it would do, or why not", err, out)
				}
				return
			}
			// Not all is well on a host without udevd.
			if failed := (*exec.ExitError)(nil); e.command == "doctor" && errors.As(err, &failed) && failed.ExitCode() == 1 {
				return
			}
			if err != nil {
				t.Errorf("got %v, %s", err, out)
			}
		})
	}
}
