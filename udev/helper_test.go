package udev

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestPartitionsBelongToTheirDiskAlone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		partition, disk string
		want            bool
	}{
		{"sda1", "sda", true},
		{"sda10", "sda", true},
		{"nvme0n1p2", "nvme0n1", true},
		{"loop1p1", "loop1", true},
		{"mmcblk0p12", "mmcblk0", true},
		// KERNEL=="sda*" and KERNEL=="loop1*" match these too.
		{"sdaa1", "sda", false},
		{"sdaa", "sda", false},
		{"loop10p1", "loop1", false},
		{"nvme0n10p1", "nvme0n1", false},
		{"sda", "sda", false},
		{"sdap", "sda", false},
		{"sdapp1", "sda", false},
		{"sda1p", "sda", false},
		{"sda1 ", "sda", false},
		{"sda1\n", "sda", false},
		{"sda-1", "sda", false},
		{"sda+1", "sda", false},
		{"sda1.5", "sda", false},
		{"sda١", "sda", false}, // a digit, but not the kernel's
		{"sdb1", "sda", false},
		{"1", "", false},
		{"", "", false},
		{"../sda1", "../sda", false},
		{"a/b1", "a/b", false},
	} {
		if got := isPartition(c.partition, c.disk); got != c.want {
			t.Errorf("%q of %q: %v, want %v", c.partition, c.disk, got, c.want)
		}
	}
}

func TestARulesArgumentsAreFive(t *testing.T) {
	t.Parallel()
	good := []string{"add", "592419e5", "sda1", "/dev/sdx", "sda"}
	got, err := parse(good)
	if want := (event{action: "add", container: "592419e5", name: "sda1", path: "/dev/sdx", disk: "sda"}); err != nil || got != want {
		t.Errorf("%q: %v, %v", good, got, err)
	}
	with := func(i int, value string) []string {
		args := slices.Clone(good)
		args[i] = value
		return args
	}
	for _, args := range [][]string{with(0, "remove"), with(1, "my_box.1+x"), with(3, "/dev/x y")} {
		if _, err := parse(args); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "5 arguments"},
		{good[:4], "got 4"},
		{append(slices.Clone(good), "x"), "got 6"},
		{with(0, "change"), `"change"`},
		{with(0, ""), `""`},
		{with(0, "Add"), `"Add"`},
		{with(1, ""), "container's id"},
		{with(1, "../../etc"), "container's id"},
		{with(1, "a/b"), "container's id"},
		{with(1, "-t"), "container's id"},
		{with(1, "a b"), "container's id"},
		{with(1, "a\n"), "container's id"},
		{with(2, "sdb1"), `"sdb1"`},
		{with(2, "sdaa1"), `"sdaa1"`},
		{with(2, ""), "not a partition"},
		{with(3, "dev/sdx"), `"dev/sdx"`},
		{with(3, ""), "not absolute"},
		{with(4, ""), "not a partition"},
		{with(4, "sd"), "not a partition"},
	} {
		if _, err := parse(c.args); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want an error that says %s", c.args, err, c.want)
		}
	}
}

func TestTheHelperSaysInOneLineWhatItCannotDo(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		nil,
		{"add"},
		{"add", "592419e5", "sda1", "/dev/sdx", "sda"},
		{"add", "592419e5", "sd\na1", "/dev/sdx", "sd\na"},
		{"a\nb", "592419e5", "sda1", "/dev/sdx", "sda"},
		{"add", "5924\x1b[31m", "sda1", "/dev/sdx", "sda"},
	} {
		var stderr bytes.Buffer
		code := Helper("isulad-tools_wrapper", args, &stderr)
		if code != 1 {
			t.Errorf("%q: exit code %d", args, code)
		}
		checkLine(t, args, stderr.String())
	}
}

func checkLine(t *testing.T, args []string, printed string) {
	t.Helper()
	line, ok := strings.CutSuffix(printed, "\n")
	if !ok || !strings.HasPrefix(line, "isulad-tools_wrapper: ") || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Errorf("%q: printed %q, want one plain line", args, printed)
	}
}

func FuzzHelperArguments(f *testing.F) {
	f.Add("add", "592419e5", "sda1", "/dev/sdx", "sda")
	f.Add("remove", "abc", "loop10p1", "/dev/x", "loop1")
	f.Add("add", "a", "p1", "/", "p")
	f.Add("add", "a", "\x001", "/", "\x00")
	f.Fuzz(func(t *testing.T, action, container, partition, path, disk string) {
		args := []string{action, container, partition, path, disk}
		var stderr bytes.Buffer
		Helper("isulad-tools_wrapper", args, &stderr)
		checkLine(t, args, stderr.String())
		ev, err := parse(args)
		if err != nil {
			return
		}
		number := strings.TrimLeft(strings.TrimPrefix(ev.partition, ev.disk), "p")
		if ev.disk+number != ev.partition && ev.disk+"p"+number != ev.partition || number == "" || strings.Trim(number, "0123456789") != "" {
			t.Fatalf("%q accepted as %+v", args, ev)
		}
		if strings.ContainsAny(ev.container+ev.disk, "/ \n") || ev.container[0] == '-' || ev.container[0] == '.' {
			t.Fatalf("%q accepted as %+v", args, ev)
		}
	})
}
