package units

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/resource"
)

// plugged is a loop device whose partitions the kernel makes known.
type plugged struct {
	minor int
	name  string
	file  *os.File
}

func plug(t testing.TB) *plugged {
	t.Helper()
	p := &plugged{minor: sandbox.Loop(t, 16<<20)}
	p.name = fmt.Sprintf("loop%d", p.minor)
	path := "/dev/" + p.name
	if _, err := os.Lstat(path); err != nil {
		must(t, sandbox.Mknod(path, unix.S_IFBLK|0o660, 7, uint32(p.minor), 0, 6))
		t.Cleanup(func() { must(t, os.Remove(path)) })
	}
	var err error
	p.file, err = os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	t.Cleanup(func() { p.file.Close() })
	info, err := unix.IoctlLoopGetStatus64(int(p.file.Fd()))
	must(t, err)
	info.Flags |= unix.LO_FLAGS_PARTSCAN
	must(t, unix.IoctlLoopSetStatus64(int(p.file.Fd()), info))
	return p
}

// part is a partition's name; it is not made.
func (p *plugged) part(n int) string { return fmt.Sprintf("%sp%d", p.name, n) }

// cut makes a partition, and its node as devtmpfs does; it returns the numbers.
func (p *plugged) cut(t testing.TB, n int) string {
	t.Helper()
	must(t, p.blkpg(unix.BLKPG_ADD_PARTITION, n))
	t.Cleanup(func() { _ = p.blkpg(unix.BLKPG_DEL_PARTITION, n) })
	numbers := strings.TrimSpace(read(t, "/sys/class/block/"+p.part(n)+"/dev"))
	var major, minor uint32
	_, err := fmt.Sscanf(numbers, "%d:%d", &major, &minor)
	must(t, err)
	must(t, sandbox.Mknod("/dev/"+p.part(n), unix.S_IFBLK|0o660, major, minor, 0, 6))
	t.Cleanup(func() { os.Remove("/dev/" + p.part(n)) })
	return numbers
}

func (p *plugged) uncut(t testing.TB, n int) {
	t.Helper()
	must(t, p.blkpg(unix.BLKPG_DEL_PARTITION, n))
	must(t, os.Remove("/dev/"+p.part(n)))
}

func (p *plugged) blkpg(op int32, n int) error {
	partition := struct {
		start, length int64
		number        int32
		names         [2][64]byte
	}{int64(n) << 20, 1 << 20, int32(n), [2][64]byte{}}
	arg := struct {
		op, flags, length int32
		data              unsafe.Pointer
	}{op: op, length: int32(unsafe.Sizeof(partition)), data: unsafe.Pointer(&partition)}
	var errno unix.Errno
	sandbox.Await(func() bool {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, p.file.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&arg)))
		runtime.KeepAlive(&partition)
		return errno != unix.EBUSY // the host's udevd looks at it
	})
	if errno != 0 {
		return os.NewSyscallError("BLKPG", errno)
	}
	return nil
}

// deviceFixture is a container with a resource file.
type deviceFixture struct {
	*fakeContainer
	t      testing.TB
	dir    string
	target *resource.Target
}

func newDeviceFixture(t testing.TB, file map[string]any, options ...option) *deviceFixture {
	t.Helper()
	b := &deviceFixture{fakeContainer: hold(t, nil, options...), t: t, dir: t.TempDir()}
	own := hostOwner
	if has(options, userns) {
		own = resource.MappedRoot{UID: mappedRoot, GID: mappedRoot}
	}
	b.target = b.fakeContainer.target(t, own)
	if has(options, userns) {
		b.target.UserNS = true
		must(t, mounts.Share(t.Context(), b.target, func(err error) { t.Error(err) }))
		t.Cleanup(func() { must(t, mounts.PurgeStaging(b.id)) })
	}
	data, err := json.Marshal(file)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(b.dir, config.Name), data, 0o600))
	return b
}

// do serves one event, or with no name looks as a start does, and returns what
// was done.
func (b *deviceFixture) do(path, name string) []string {
	b.t.Helper()
	doc, err := config.Load(b.dir)
	must(b.t, err)
	plan, err := devices.PlanHotplug(doc)
	must(b.t, err)
	if name != "" {
		must(b.t, plan.Event(path, name))
	} else {
		must(b.t, plan.ScanPartitions())
	}
	must(b.t, plan.Do(b.t.Context(), b.target))
	must(b.t, plan.Failed())
	_, err = plan.Followed()
	must(b.t, err)
	must(b.t, doc.Save())
	var done []string
	for _, task := range plan.Change.Tasks {
		done = append(done, fmt.Sprint(task.Verb, " ", task.Kind))
	}
	return done
}

// has requires the container to have exactly these of the nodes that it may
// have, by path: their numbers, node and permission.
func (b *deviceFixture) has(want map[string]string) { b.t.Helper(); b.hasAndMay(want, want) }

func (b *deviceFixture) hasAndMay(want, may map[string]string) {
	b.t.Helper()
	got := map[string]string{}
	must(b.t, filepath.WalkDir(b.root+"/dev", func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		// Not what the folder says: a node may be bound onto a file.
		var st unix.Stat_t
		if must(b.t, unix.Lstat(p, &st)); st.Mode&unix.S_IFMT != unix.S_IFBLK && st.Mode&unix.S_IFMT != unix.S_IFCHR {
			b.t.Errorf("%s is left, %o", p, st.Mode)
			return nil
		}
		got[strings.TrimPrefix(p, b.root)] = fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		return nil
	}))
	if !maps.Equal(got, want) {
		b.t.Errorf("the container has %v, want %v", got, want)
	}
	var allowed []string
	for line := range strings.Lines(b.allowed(b.t)) {
		if f := strings.Fields(line); f[0] == "b" {
			allowed = append(allowed, f[1])
		}
	}
	numbers := slices.Compact(slices.Sorted(maps.Values(may)))
	if slices.Sort(allowed); !slices.Equal(allowed, numbers) {
		b.t.Errorf("it may use %v, want %v", allowed, numbers)
	}
}

// recorded are the devices in the file.
func (b *deviceFixture) recorded() []devices.Device {
	b.t.Helper()
	doc, err := config.Load(b.dir)
	must(b.t, err)
	list, err := config.List[devices.Device](doc, config.Devices)
	must(b.t, err)
	return list
}

// records are those in the file, in short.
func (b *deviceFixture) records() string {
	b.t.Helper()
	var s []string
	for _, d := range b.recorded() {
		s = append(s, fmt.Sprintf("%s=%s<%s(%s)%d:%d", d.PathInContainer, d.PathOnHost, d.Parent, d.CgroupPermissions, d.Major, d.Minor))
	}
	return strings.Join(s, "\n")
}

func (p *plugged) record(host, path, permissions string) devices.Device {
	return devices.Device{Type: "b", Major: 7, Minor: int64(p.minor), PathOnHost: host, PathInContainer: path, CgroupPermissions: permissions}
}

// start gives the container what is recorded, and looks.
func (b *deviceFixture) start() {
	b.t.Helper()
	doc, err := config.Load(b.dir)
	must(b.t, err)
	plan, err := devices.Kind.Restore(doc)
	must(b.t, err)
	must(b.t, plan.Do(b.t.Context(), b.target, func(err error) { b.t.Error(err) }))
	_, err = devices.Follow(doc, plan.Records)
	must(b.t, err)
	must(b.t, doc.Save())
}

// either tests a container whose nodes are made, and one whose nodes are bound.
func either(t *testing.T, test func(t *testing.T, options ...option)) {
	t.Run("nodes that are made", func(t *testing.T) { test(t, pivoted) })
	t.Run("nodes that are bound", func(t *testing.T) { test(t, boundNodes()...) })
}

// boundNodes are the options of a container whose nodes are bound. Linux 4.19 has
// no way into one that has changed its root.
func boundNodes() []option {
	if lacks(unix.SYS_OPEN_TREE) {
		return []option{userns}
	}
	return []option{pivoted, userns}
}

func TestPartitionsComeAndGoWithThoseOfTheHost(t *testing.T) {
	either(t, func(t *testing.T, options ...option) {
		p := plug(t)
		host := "/dev/" + p.name
		p.cut(t, 1) // it was there before: the operator did not want it
		b := newDeviceFixture(t, map[string]any{"deviceToAdd": []devices.Device{p.record(host, "/dev/x", "rw")}}, options...)
		b.start()
		disk := fmt.Sprintf("7:%d", p.minor)
		b.has(map[string]string{"/dev/x": disk})
		if done := b.do("", ""); len(done) != 0 {
			t.Errorf("did %q for nothing new", done)
		}
		two := p.cut(t, 2)
		for range 2 { // an event that comes twice
			b.do("/dev/x", p.part(2))
			b.has(map[string]string{"/dev/x": disk, "/dev/xp2": two})
		}
		want := fmt.Sprintf("/dev/x=%s<(rw)%s\n/dev/xp2=/dev/%s<%s(rw)%s", host, disk, p.part(2), host, two)
		if got := b.records(); got != want {
			t.Errorf("recorded %s, want %s", got, want)
		}
		// Events that overtook each other: what is, counts.
		ten := p.cut(t, 10)
		b.do("/dev/x", p.part(2))
		b.has(map[string]string{"/dev/x": disk, "/dev/xp2": two, "/dev/xp10": ten})
		p.uncut(t, 2)
		b.do("/dev/x", p.part(10))
		b.has(map[string]string{"/dev/x": disk, "/dev/xp10": ten})
		p.uncut(t, 10)
		b.do("/dev/x", p.part(10))
		b.has(map[string]string{"/dev/x": disk})
		if got := b.records(); strings.Contains(got, "/dev/xp") {
			t.Errorf("recorded %s", got)
		}
		// Nobody told of this one; the next look finds it.
		three := p.cut(t, 3)
		b.do("", "")
		b.has(map[string]string{"/dev/x": disk, "/dev/xp3": three})
		// And the one that was there before comes by its own event.
		one := strings.TrimSpace(read(t, "/sys/class/block/"+p.part(1)+"/dev"))
		b.do("/dev/x", p.part(1))
		b.has(map[string]string{"/dev/x": disk, "/dev/xp1": one, "/dev/xp3": three})
		for _, path := range []string{"/dev/y", "/dev/xp3", "/dev/x/../x"} { // not a disk of the container
			if done := b.do(path, p.part(3)); len(done) != 0 {
				t.Errorf("%s: did %q", path, done)
			}
		}
	})
}

// repoint makes the link of a disk lead to p, as udevd does when it has found
// out what p is; nil is nowhere.
func repoint(t testing.TB, link string, p *plugged) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(link), 0o755))
	if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if p != nil {
		must(t, os.Symlink("../../"+p.name, link))
	}
}

func TestADiskThatComesBackUnderOtherNumbersIsTheSame(t *testing.T) {
	either(t, func(t *testing.T, options ...option) {
		was, is := plug(t), plug(t)
		const link = "/dev/disk/by-id/test-ours"
		repoint(t, link, was)
		t.Cleanup(func() { os.RemoveAll("/dev/disk") })
		file := map[string]any{
			"deviceToAdd": []devices.Device{was.record(link, "/dev/x", "rwm"), {Type: "c", Major: 1, Minor: 5, PathOnHost: "/dev/zero", PathInContainer: "/dev/z"}},
			"readIops":    []devices.Limit{{Major: 7, Minor: int64(was.minor), Path: link, Value: "100"}},
			"writeBps":    []devices.Limit{{Major: 7, Minor: int64(was.minor), Path: "/dev/" + was.name, Value: "4096"}},
		}
		b := newDeviceFixture(t, file, options...)
		blkio := "/sys/fs/cgroup/blkio" + b.cgroup
		must(t, os.MkdirAll(blkio, 0o755))
		b.start()
		p1 := was.cut(t, 1)
		b.do("/dev/x", was.part(1))
		old, zero := fmt.Sprintf("7:%d", was.minor), "1:5"
		has := func(want map[string]string) { // beside the character device, which is no matter of theirs
			t.Helper()
			want["/dev/z"] = zero
			b.hasNodes(want)
		}
		has(map[string]string{"/dev/x": old, "/dev/xp1": p1})

		// It is pulled. Its name is another disk's at once, with a partition.
		repoint(t, link, nil)
		b.do("/dev/x", was.name)
		has(map[string]string{})
		if got := b.records(); !strings.HasPrefix(got, "/dev/x="+link+"<(rwm)"+old) || strings.Contains(got, "/dev/xp") {
			t.Errorf("recorded while it is away: %s", got)
		}
		for _, name := range []string{was.part(1), was.name, ""} {
			b.do("/dev/x", name)
			has(map[string]string{})
		}

		// It comes back under another.
		q2 := is.cut(t, 2)
		repoint(t, link, is)
		b.do("/dev/x", is.name)
		now := fmt.Sprintf("7:%d", is.minor)
		has(map[string]string{"/dev/x": now, "/dev/xp2": q2})
		want := fmt.Sprintf("/dev/x=%s<(rwm)%s\n/dev/z=/dev/zero<()%s\n/dev/xp2=/dev/%s<%s(rwm)%s", link, now, zero, is.part(2), link, q2)
		if got := b.records(); got != want {
			t.Errorf("recorded %s, want %s", got, want)
		}
		if got, want := read(t, blkio+"/blkio.throttle.read_iops_device"), now+" 100\n"; got != want {
			t.Errorf("read iops: %q, want %q", got, want)
		}
		if got, want := read(t, blkio+"/blkio.throttle.write_bps_device"), now+" 4096\n"; !strings.Contains(got, want) {
			t.Errorf("write bps: %q, want %q", got, want)
		}
		if got := read(t, filepath.Join(b.dir, config.Name)); strings.Contains(got, "/dev/"+was.name) {
			t.Errorf("the next start would look for another disk's limits: %s", got)
		}
		// Told twice, and told late of what was.
		for _, name := range []string{is.name, was.part(1), was.name} {
			b.do("/dev/x", name)
			has(map[string]string{"/dev/x": now, "/dev/xp2": q2})
		}
		// The link is not right yet: another disk has its name.
		repoint(t, link, was)
		b.do("/dev/x", was.part(1))
		has(map[string]string{"/dev/x": now, "/dev/xp2": q2})
		// Without a moment in which it is away.
		repoint(t, link, was)
		b.do("/dev/x", was.name)
		has(map[string]string{"/dev/x": old, "/dev/xp1": p1})
	})
}

// hasNodes is has, with permissions for all of a list that may have characters.
func (b *deviceFixture) hasNodes(want map[string]string) {
	b.t.Helper()
	blocks := map[string]string{}
	for path, numbers := range want {
		if strings.HasPrefix(numbers, "1:") {
			node := b.root + path
			var st unix.Stat_t
			must(b.t, unix.Stat(node, &st))
			if st.Mode&unix.S_IFMT != unix.S_IFCHR {
				b.t.Errorf("%s is %o", path, st.Mode)
			}
			continue
		}
		blocks[path] = numbers
	}
	b.hasAndMay(want, blocks)
}

func TestWhatWasAddedByHandIsWithdrawnAndComesBack(t *testing.T) {
	p := plug(t)
	host := "/dev/" + p.name
	one := p.cut(t, 1)
	hand := devices.Device{Type: "b", PathOnHost: "/dev/" + p.part(1), PathInContainer: "/dev/data", CgroupPermissions: "r", Parent: host}
	b := newDeviceFixture(t, map[string]any{"deviceToAdd": []devices.Device{p.record(host, "/dev/x", "r"), hand}})
	b.start()
	disk := fmt.Sprintf("7:%d", p.minor)
	both := map[string]string{"/dev/x": disk, "/dev/data": one}
	b.has(both)
	recorded := b.records()
	p.uncut(t, 1)
	b.do("/dev/x", p.part(1))
	without := map[string]string{"/dev/x": disk}
	b.has(without)
	if got := b.records(); got != recorded {
		t.Errorf("recorded %s, want %s", got, recorded)
	}
	both["/dev/data"] = p.cut(t, 1)
	b.do("/dev/x", p.part(1))
	b.has(both)
	// No name of ours for what is there under another one.
	if got := b.records(); strings.Contains(got, "/dev/xp1") {
		t.Errorf("recorded %s", got)
	}
}

func TestAContainerThatDoesNotRunLearnsAtItsStart(t *testing.T) {
	p := plug(t)
	host := "/dev/" + p.name
	p.cut(t, 1)
	two := p.cut(t, 2)
	p2 := devices.Device{Type: "b", PathOnHost: "/dev/" + p.part(2), PathInContainer: "/dev/xp2", Parent: host}
	p3 := devices.Device{Type: "b", PathOnHost: "/dev/" + p.part(3), PathInContainer: "/dev/xp3", Parent: host}
	b := newDeviceFixture(t, map[string]any{
		"deviceToAdd":    []devices.Device{p.record(host, "/dev/x", "rw"), p2, p3},
		"diskPartitions": []devices.PartitionSnapshot{{Path: "/dev/x", Partitions: "p1 p3"}, {Path: "/dev/gone", Partitions: "1"}},
	})
	b.target = nil
	four := p.cut(t, 4)
	b.do("", "")
	want := fmt.Sprintf("/dev/x=%s<(rw)7:%d\n/dev/xp2=/dev/%s<%s()%s\n/dev/xp4=/dev/%s<%s(rw)%s", host, p.minor, p.part(2), host, two, p.part(4), host, four)
	if got := b.records(); got != want {
		t.Errorf("recorded %s, want %s", got, want)
	}
	if got := read(t, filepath.Join(b.dir, config.Name)); !strings.Contains(got, `"diskPartitions":[{"path":"/dev/x","partitions":"p1 p2 p4"}]`) {
		t.Errorf("saved %s", got)
	}
}

func TestALimitFollowsItsDiskThroughAStop(t *testing.T) {
	was, is := plug(t), plug(t)
	const link = "/dev/disk/by-id/test-ours"
	repoint(t, link, is)
	t.Cleanup(func() { os.RemoveAll("/dev/disk") })
	fakeProgram(t, "udevadm", "")
	h := hold(t, nil)
	dir := bundleOf(t, h, map[string]any{"linux": map[string]any{"cgroupsPath": h.cgroup}})
	blkio := "/sys/fs/cgroup/blkio" + h.cgroup
	must(t, os.MkdirAll(blkio, 0o755))
	limit := func(p *plugged, path, value string) devices.Limit {
		return devices.Limit{Major: 7, Minor: int64(p.minor), Path: path, Value: value}
	}
	data, err := json.Marshal(map[string]any{
		"deviceToAdd": []devices.Device{was.record(link, "/dev/x", "rwm")},
		"readIops":    []devices.Limit{limit(was, "/dev/"+was.name, "100")},
	})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, config.Name), data, 0o600))
	defer startsIn(t, h, dir)()
	if got, want := read(t, blkio+"/blkio.throttle.read_iops_device"), fmt.Sprintf("7:%d 100\n", is.minor); got != want {
		t.Errorf("the limits are %q, want %q", got, want)
	}
	doc, err := config.Load(dir)
	must(t, err)
	got, err := config.List[devices.Limit](doc, config.ReadIOPS)
	must(t, err)
	if want := []devices.Limit{limit(is, link, "100")}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// startsIn starts the container of a bundle, and returns what stops it.
func startsIn(t *testing.T, h *fakeContainer, dir string) (stop func()) {
	t.Helper()
	state := map[string]any{"id": h.id, "pid": h.pid, "bundle": dir, "root": h.image}
	if code, stderr := stage(t, "prestart", state); code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	return func() {
		if code, stderr := stage(t, "poststop", state); code != 0 || stderr != "" {
			t.Errorf("exit code %d, %s", code, stderr)
		}
		if text := read(t, rules); strings.Contains(text, h.id) {
			t.Errorf("left are\n%s", text)
		}
		must(t, os.Remove(rules))
	}
}
