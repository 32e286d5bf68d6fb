package udev

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/place"
)

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
	for _, args := range [][]string{
		with(0, "remove"), with(0, "change"), with(1, "my_box.1+x"), with(1, "_web"), with(1, "+web"), with(1, "-t"), append([]string{"--direct"}, good...),
		with(4, "-"),
		{"add", "592419e5", "bus/usb/001/002", "usb:0403:6001:A1", "-"},
		{"unbind", "592419e5", "1-1.2:1.0", "usb:0403:6001", "-"},
		{"add", "592419e5", "cciss/c0d0p1", "/dev/sdx", "cciss/c0d0"},
	} {
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
		{with(0, "move"), `"move"`},
		{with(0, ""), `""`},
		{with(0, "Add"), `"Add"`},
		{with(1, ""), "container's id"},
		{with(1, "../../etc"), "container's id"},
		{with(1, "a/b"), "container's id"},
		{with(1, ".."), "container's id"},
		{with(1, "a b"), "container's id"},
		{with(1, "a\n"), "container's id"},
		{with(2, "sdb1"), `"sdb1"`},
		{with(2, "sdaa1"), `"sdaa1"`},
		{with(2, ""), "not a device"},
		{with(3, "dev/sdx"), `"dev/sdx"`},
		{with(3, ""), "not absolute"},
		{with(3, "usb:0403:6001"), "not absolute"},
		{[]string{"add", "592419e5", "ttyUSB0", "usb:0403:6001:$x", "-"}, "not absolute"},
		{with(3, "/dev/x y"), `"/dev/x y"`},
		{with(3, "/dev/$x"), `"/dev/$x"`},
		{with(3, "/dev/x\n"), `"/dev/x\n"`},
		{append([]string{"--Direct"}, good...), "got 6"},
		{append([]string{"--direct", "--direct"}, good...), "got 6"},
		{[]string{"add", "592419e5", "..", "/dev/sdx", "-"}, "not a device"},
		{[]string{"add", "592419e5", "", "/dev/sdx", "-"}, "not a device"},
		{[]string{"add", "592419e5", "/sda", "/dev/sdx", "-"}, "not a device"},
		{[]string{"add", "592419e5", "x/../sda", "/dev/sdx", "-"}, "not a device"},
		{[]string{"add", "592419e5", "sd a", "/dev/sdx", "-"}, "not a device"},
		{[]string{"add", "592419e5", "sda;1", "/dev/sdx", "sda;"}, "not a device"},
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
		{"add", "592419e5", "sda1", "sdx", "sda"},
		{"add", "592419e5", "sd\na1", "/dev/sdx", "sd\na"},
		{"a\nb", "592419e5", "sda1", "/dev/sdx", "sda"},
		{"add", "5924\x1b[31m", "sda1", "/dev/sdx", "sda"},
	} {
		var stderr bytes.Buffer
		code := Helper(nowhere, "isulad-tools_wrapper", args, &stderr)
		if code != 1 {
			t.Errorf("%q: exit code %d", args, code)
		}
		checkLine(t, args, stderr.String())
	}
}

// nowhere is a generation that finds nothing and leaves nothing.
var nowhere = place.Generation{Tool: "none", Helper: "none_wrapper", RunDir: "/nonexistent/run", Log: "/nonexistent/log"}

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
	f.Add("add", "a", "sda", "/", "-")
	f.Add("add", "a", "\x001", "/", "\x00")
	f.Fuzz(func(t *testing.T, action, container, name, path, disk string) {
		args := []string{action, container, name, path, disk}
		ev, err := parse(args)
		if err != nil {
			checkLine(t, args, "isulad-tools_wrapper: "+command.OneLine(err.Error())+"\n")
			return
		}
		number := strings.TrimLeft(strings.TrimPrefix(ev.name, ev.disk), "p")
		if !ev.isOfDevice() && (ev.disk+number != ev.name && ev.disk+"p"+number != ev.name || number == "" || strings.Trim(number, "0123456789") != "") {
			t.Fatalf("%q accepted as %+v", args, ev)
		}
		if strings.ContainsAny(ev.container, "/ \n") || ev.container == "." || ev.container == ".." {
			t.Fatalf("%q accepted as %+v", args, ev)
		}
		for _, word := range ev.args() { // systemd-run gets them
			if strings.ContainsAny(word, " \t\n\"'$%\\\x00") {
				t.Fatalf("%q accepted as %+v", args, ev)
			}
		}
	})
}
