package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[0] == victimName {
		os.Exit(victim(os.Args[1], os.Args[2:]))
	}
	os.Exit(m.Run())
}

// command is the test binary in the role of a victim.
func command(t *testing.T, role string, args ...string) Command {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Command{Path: self, Args: append([]string{victimName, role}, args...), Dir: "/"}
}

func run(t *testing.T, c Command, f Fault) *Result {
	t.Helper()
	res, err := c.Run(f)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func names(points []Point) []string {
	var out []string
	for _, p := range points {
		out = append(out, p.Name)
	}
	return out
}

// fileSteps is what the victim "files" does, and what it leaves after each step.
var fileSteps = []struct {
	call  string
	entry string // the tree afterwards
}{
	{"mkdirat", "d"},
	{"openat", "d d/tmp=0"},
	{"write", "d d/tmp=5"},
	{"fsync", "d d/tmp=5"},
	{"renameat", "d d/new=5"},
	{"flock", "d d/new=5"},
	{"fchmod", "d d/new=5"},
	{"symlinkat", "d d/link d/new=5"},
	{"unlinkat", "d d/new=5"},
}

func tree(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			rel += fmt.Sprintf("=%d", info.Size())
		}
		out = append(out, rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestListsWhatTheProgramChanges(t *testing.T) {
	dir := t.TempDir()
	res := run(t, command(t, "files", dir), Fault{Action: Observe})
	if res.ExitCode != 0 || res.Hit != nil || res.TimedOut {
		t.Fatalf("%v: %s", res, res.Stderr)
	}
	var want []string
	for _, s := range fileSteps {
		want = append(want, s.call)
	}
	if got := names(res.Points); !slices.Equal(got, want) {
		t.Fatalf("points %v, want %v", got, want)
	}
	for _, p := range res.Points {
		if !strings.Contains(p.Args, dir) {
			t.Errorf("%v does not name the file", p)
		}
		if !p.Done || p.Ret < 0 {
			t.Errorf("%v did not succeed", p)
		}
	}
	if got, want := res.Points[2].Args, `"hello"`; !strings.Contains(got, want) {
		t.Errorf("write shows %s, want %s", got, want)
	}
	if got, want := tree(t, dir), fileSteps[len(fileSteps)-1].entry; got != want {
		t.Errorf("tree %q, want %q", got, want)
	}
	if got := string(res.Stdout); got != "done\n" {
		t.Errorf("stdout %q", got)
	}
}

func TestEveryRunHasTheSamePoints(t *testing.T) {
	first := names(run(t, command(t, "files", t.TempDir()), Fault{Action: Observe}).Points)
	for range 10 {
		if got := names(run(t, command(t, "files", t.TempDir()), Fault{Action: Observe}).Points); !slices.Equal(got, first) {
			t.Fatalf("points %v, before %v", got, first)
		}
	}
}

func TestKillsExactlyBeforeAndAfterEachPoint(t *testing.T) {
	for i, step := range fileSteps {
		before := ""
		if i > 0 {
			before = fileSteps[i-1].entry
		}
		for action, want := range map[Action]string{KillBefore: before, KillAfter: step.entry} {
			f := Fault{At: i + 1, Action: action}
			dir := t.TempDir()
			res := run(t, command(t, "files", dir), f)
			if res.Hit == nil || res.Hit.Name != step.call || res.Signal != syscall.SIGKILL || res.ExitCode != -1 {
				t.Errorf("%v: %v, hit %v", f, res, res.Hit)
			}
			if got := tree(t, dir); got != want {
				t.Errorf("%v: tree %q, want %q", f, got, want)
			}
		}
	}
	f := Fault{At: len(fileSteps) + 1, Action: KillBefore}
	if res := run(t, command(t, "files", t.TempDir()), f); res.Hit != nil || res.ExitCode != 0 {
		t.Errorf("%v: %v, hit %v; want the end of the loop", f, res, res.Hit)
	}
}

func TestInjectedErrorReachesTheProgramAndNothingHappens(t *testing.T) {
	for _, errno := range []syscall.Errno{unix.ENOSPC, unix.EIO, unix.EPERM, unix.ENOMEM, unix.EBUSY} {
		for i, step := range fileSteps {
			before := ""
			if i > 0 {
				before = fileSteps[i-1].entry
			}
			f := Fault{At: i + 1, Action: Fail, Errno: errno}
			dir := t.TempDir()
			res := run(t, command(t, "files", dir), f)
			if res.ExitCode != 1 || !strings.Contains(string(res.Stderr), errno.Error()) {
				t.Errorf("%v: %v, stderr %q", f, res, res.Stderr)
			}
			if got := tree(t, dir); got != before {
				t.Errorf("%v (%s): tree %q, want %q", f, step.call, got, before)
			}
			if res.Hit == nil || res.Hit.Ret != -int64(errno) {
				t.Errorf("%v: hit %v", f, res.Hit)
			}
		}
	}
}

func TestInterruptedCallIsRetriedAsAPointOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	res := run(t, command(t, "files", dir), Fault{At: 1, Action: Fail, Errno: unix.EINTR})
	if res.ExitCode != 0 {
		t.Fatalf("%v: %s", res, res.Stderr)
	}
	if len(res.Points) != len(fileSteps)+1 || res.Points[0].Name != res.Points[1].Name {
		t.Errorf("points %v", res.Points)
	}
}

func TestStickyErrorStays(t *testing.T) {
	dir := t.TempDir()
	f := Fault{At: 2, Action: Fail, Errno: unix.EIO, Sticky: true}
	res := run(t, command(t, "threads", dir, "3", "4"), f)
	if got := strings.Count(tree(t, dir), "-"); got != 1 {
		t.Errorf("%v: %d directories, want 1", f, got)
	}
	if n := len(res.Points); n != 12 {
		t.Errorf("%v: %d points, want 12", f, n)
	}
}

func TestOneCounterOverAllThreads(t *testing.T) {
	const threads, each = 4, 5
	args := []string{fmt.Sprint(threads), fmt.Sprint(each)}
	for n := 1; n <= threads*each; n++ {
		for action, want := range map[Action]int{KillBefore: n - 1, KillAfter: n} {
			f := Fault{At: n, Action: action}
			dir := t.TempDir()
			res := run(t, command(t, "threads", append([]string{dir}, args...)...), f)
			if got := strings.Count(tree(t, dir), "-"); got != want {
				t.Errorf("%v: %d directories, want %d: %v", f, got, want, res.Points)
			}
		}
	}
	dir := t.TempDir()
	res := run(t, command(t, "threads", append([]string{dir}, args...)...), Fault{Action: Observe})
	tids := map[int]bool{}
	for i, p := range res.Points {
		tids[p.Tid] = true
		if p.N != i+1 {
			t.Errorf("point %d has number %d", i+1, p.N)
		}
	}
	if len(res.Points) != threads*each || len(tids) != threads {
		t.Errorf("%d points of %d threads, want %d of %d", len(res.Points), len(tids), threads*each, threads)
	}
}

func TestCountsChildrenOnRequest(t *testing.T) {
	for _, children := range []bool{false, true} {
		dir := t.TempDir()
		c := command(t, "parent", "files", dir)
		c.Children = children
		res := run(t, c, Fault{Action: Observe})
		want := 0
		if children {
			want = len(fileSteps)
		}
		got := slices.DeleteFunc(names(res.Points), func(s string) bool { return s == "execve" })
		if res.ExitCode != 0 || len(got) != want {
			t.Errorf("children %t: %v, points %v, want %d", children, res, got, want)
		}
		if len(res.Execs) != 1 {
			t.Errorf("execs %q, want one", res.Execs)
		}
	}
	dir := t.TempDir()
	c := command(t, "parent", "files", dir)
	c.Children, c.Ignore = true, func(p Point) bool { return p.Name == "execve" }
	if res := run(t, c, Fault{At: 3, Action: KillBefore}); res.Signal != syscall.SIGKILL {
		t.Errorf("killed in the child: %v", res)
	}
	if got, want := tree(t, dir), fileSteps[1].entry; got != want {
		t.Errorf("tree %q, want %q", got, want)
	}
}

func TestAProgramThatIsLeftAloneHasNoPoints(t *testing.T) {
	dir := t.TempDir()
	res := run(t, command(t, "files", dir), Fault{})
	if res.ExitCode != 0 || len(res.Points) > 0 || res.Hit != nil || tree(t, dir) == "" {
		t.Errorf("%v, points %v, hit %v, made %q, want exit 0, no point and a tree", res, res.Points, res.Hit, tree(t, dir))
	}
}

func TestNothingOutlivesTheRun(t *testing.T) {
	for _, action := range []Action{Leave, Observe} {
		t.Run(action.String(), func(t *testing.T) { nothingOutlivesTheRun(t, action) })
	}
}

func nothingOutlivesTheRun(t *testing.T, action Action) {
	res := run(t, command(t, "orphan"), Fault{Action: action})
	if res.ExitCode != 0 || res.Orphans != 1 {
		t.Errorf("%v, %d orphans, want 1", res, res.Orphans)
	}
	var pid int
	if _, err := fmt.Sscan(string(res.Stdout), &pid); err != nil {
		t.Fatalf("stdout %q: %v", res.Stdout, err)
	}
	// Its new parent, init, may not have collected it yet.
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err == nil && !strings.Contains(string(status), "State:\tZ") {
		t.Errorf("child %d still there: %s", pid, status)
	}
}

func TestHangIsBounded(t *testing.T) {
	for _, action := range []Action{Leave, Observe} {
		t.Run(action.String(), func(t *testing.T) {
			c := command(t, "hang")
			c.Timeout = 300 * time.Millisecond
			res := run(t, c, Fault{Action: action})
			if !res.TimedOut || res.Signal != syscall.SIGKILL {
				t.Errorf("%v, timed out %t", res, res.TimedOut)
			}
		})
	}
}

func TestTellsSocketsPipesAndFilesApart(t *testing.T) {
	res := run(t, command(t, "channels", t.TempDir()), Fault{Action: Observe})
	if res.ExitCode != 0 {
		t.Fatalf("%v: %s", res, res.Stderr)
	}
	want := []string{"sendto", "openat", "pwrite64"}
	if got := names(res.Points); !slices.Equal(got, want) {
		t.Errorf("points %v, want %v", res.Points, want)
	}
}

func TestLooksCountOnlyOnRequest(t *testing.T) {
	c := command(t, "files", t.TempDir())
	c.Classes = Change | Guard | Look
	res := run(t, c, Fault{Action: Observe})
	if !slices.ContainsFunc(res.Points, func(p Point) bool { return p.Class == Look }) {
		t.Errorf("no read-only open among %v", res.Points)
	}
}

func TestNothingIsCached(t *testing.T) {
	c := command(t, "cached")
	c.Classes = Look
	res := run(t, c, Fault{Action: Observe})
	if want := unix.EAGAIN.Error() + "\n<nil>\n"; string(res.Stdout) != want {
		t.Errorf("from the cache, and from anywhere: %q, want %q", res.Stdout, want)
	}
	n := 0
	for _, p := range res.Points {
		if p.Name == "openat2" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d points are openat2, want the one that is no look into the cache: %v", n, res.Points)
	}
}

func TestMissingProgramIsAnError(t *testing.T) {
	if res, err := (Command{Path: "/no/such/program"}).Run(Fault{Action: Observe}); err == nil {
		t.Errorf("result %v, want an error", res)
	}
}

func TestLeavesOtherChildrenAlone(t *testing.T) {
	// Started on one thread after the other, so that the tracer's would be among
	// them.
	var others []*exec.Cmd
	for range 8 {
		c := command(t, "hang")
		cmd := exec.Command(c.Path, c.Args[1:]...)
		cmd.Args[0] = victimName
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		others = append(others, cmd)
		if res := run(t, command(t, "files", t.TempDir()), Fault{Action: Observe}); res.ExitCode != 0 {
			t.Fatal(res)
		}
	}
	for _, cmd := range others {
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); cmd.ProcessState == nil {
			t.Errorf("exit status lost: %v", err)
		}
	}
}
