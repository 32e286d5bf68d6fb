package hooks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/place"
)

const (
	lcrID  = "3ff9041b5e1ca6d86b06fd5f95ccd23474728f5c4a9436b3101e2d572729649c"
	runcID = "592419e58e91081008ac610f9d508a690fa34e27269ed12d23b034706d66ead6"
)

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStatesOfRealRuntimesAreUnderstood(t *testing.T) {
	t.Parallel()
	lcr := state{specs.State{ID: lcrID, Pid: 23455, Bundle: "/var/lib/isulad/engines/lcr/" + lcrID}, "/root/myrootfs"}
	lcrStopped := lcr
	lcrStopped.Pid = -1
	runc := state{State: specs.State{ID: runcID, Pid: 23633, Bundle: "/var/lib/isulad/engines/runc/" + runcID}}
	runcStopped := runc
	runcStopped.Pid = 0
	for _, c := range []struct {
		name   string
		strict bool
		want   state
	}{
		{"state-lcr-sys-prestart.json", true, lcr},
		{"state-lcr-sys-poststart.json", true, lcr},
		{"state-lcr-sys-poststop.json", false, lcrStopped},
		{"state-runc-prestart.json", true, runc},
		{"state-runc-poststart.json", true, runc},
		{"state-runc-poststop.json", false, runcStopped},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := readState(t.Context(), strings.NewReader(string(sample(t, c.name))), c.strict)
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Errorf("%s: %v, -want +got:\n%s", c.name, err, diff)
			}
		})
	}
}

func TestTheBundleHasTwoNames(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`"bundle":"/b"`:                           "/b",
		`"bundlePath":"/old"`:                     "/old",
		`"bundle":"","bundlePath":"/old"`:         "/old",
		`"bundle":"/b","bundlePath":"/old"`:       "/b",
		`"bundle":null,"bundlePath":"/old"`:       "/old",
		`"bundle":"/b","bundlePath":null`:         "/b",
		`"bundle":"/b/\u00e9 \"x\"","root":null`:  `/b/é "x"`,
		`"annotations":{"bundle":1},"bundle":"/"`: "/",
	} {
		t.Run(in, func(t *testing.T) {
			got, err := readState(t.Context(), strings.NewReader(`{"id":"abc","pid":7,`+in+`}`), true)
			if err != nil || got.Bundle != want {
				t.Errorf("%s: %q, %v, want %q", in, got.Bundle, err, want)
			}
		})
	}
}

func TestAStateThatPrestartCannotUseIsRefusedByField(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{``, "middle"},
		{` `, "middle"},
		{`{`, "middle"},
		{`{"id":"abc"`, "middle"},
		{`null`, "id"},
		{`[]`, "want object, found array"},
		{`"abc"`, "want object, found string"},
		{`7`, "want object, found number"},
		{`garbage`, "invalid character 'g'"},
		{"\x00\xff", "invalid character"},
		{"\ufeff{}", "invalid character"},
		{`{"id":"abc","pid":7,"bundle":"/b"} x`, "after top-level value"},
		{`{"id":"abc","pid":7,"bundle":"/b"}{}`, "after top-level value"},
		{`{}`, "id: "},
		{`{"id":null}`, "id: "},
		{`{"id":7}`, "id: want string, found number"},
		{`{"id":{}}`, "id: want string, found object"},
		{`{"ID":"abc","pid":7,"bundle":"/b"}`, "id: "},
		{`{"id":"../x","pid":7,"bundle":"/b"}`, `id: "../x"`},
		{`{"id":"a/b","pid":7,"bundle":"/b"}`, `id: "a/b"`},
		{`{"id":"..","pid":7,"bundle":"/b"}`, `id: ".."`},
		{`{"id":"a\u0000b","pid":7,"bundle":"/b"}`, `id: "a\x00b"`},
		{`{"id":"a\nb","pid":7,"bundle":"/b"}`, `id: "a\nb"`},
		{`{"id":"abc","bundle":"/b"}`, "pid: missing"},
		{`{"id":"abc","pid":null,"bundle":"/b"}`, "pid: 0 is not a process"},
		{`{"id":"abc","pid":0,"bundle":"/b"}`, "pid: 0 is not a process"},
		{`{"id":"abc","pid":-1,"bundle":"/b"}`, "pid: -1 is not a process"},
		{`{"id":"abc","pid":"7","bundle":"/b"}`, "pid: want whole number, found string"},
		{`{"id":"abc","pid":7.5,"bundle":"/b"}`, "pid: want whole number, found number 7.5"},
		{`{"id":"abc","pid":1e400,"bundle":"/b"}`, "pid: "},
		{`{"id":"abc","pid":18446744073709551616,"bundle":"/b"}`, "pid: "},
		{`{"id":"abc","pid":[7],"bundle":"/b"}`, "pid: want whole number, found array"},
		{`{"id":"abc","pid":7}`, `bundle: "" is not an absolute path`},
		{`{"id":"abc","pid":7,"bundle":"b"}`, `bundle: "b" is not an absolute path`},
		{`{"id":"abc","pid":7,"bundle":7}`, "bundle: want string, found number"},
		{`{"id":"abc","pid":7,"bundle":"/b","bundlePath":{}}`, "bundlePath: want string, found object"},
		{`{"id":"abc","pid":7,"bundle":"/b","root":7}`, "root: want string, found number"},
		{`{"id":"abc","pid":7,"bundle":"/b","annotations":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, "exceeded max depth"},
	} {
		t.Run(c.in, func(t *testing.T) {
			got, err := readState(t.Context(), strings.NewReader(c.in), true)
			if err == nil {
				t.Errorf("%.80s: accepted as %+v", c.in, got)
				return
			}
			if msg := err.Error(); !strings.HasPrefix(msg, "container state on standard input: ") || !strings.Contains(msg, c.want) {
				t.Errorf("%.80s: %q, want it to say standard input and %q", c.in, msg, c.want)
			}
		})
	}
}

func TestForPoststopTheIdIsEnough(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		`{"id":"abc"}`,
		`{"id":"abc","pid":"x","bundle":7,"bundlePath":[],"root":{}}`,
		`{"id":"abc","pid":1e400,"bundle":null}`,
		`{"id":"abc","bundle":"relative"}`,
	} {
		got, err := readState(t.Context(), strings.NewReader(in), false)
		if err != nil || got.ID != "abc" {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{``, `null`, `{}`, `{"id":7}`, `{"id":"a/b"}`, `{"id":"abc"`, `[]`} {
		if got, err := readState(t.Context(), strings.NewReader(in), false); err == nil || !strings.Contains(err.Error(), "standard input") {
			t.Errorf("%s: %+v, %v, want an error", in, got, err)
		}
	}
}

func TestAnIdIsAFilesName(t *testing.T) {
	t.Parallel()
	for _, id := range []string{lcrID, "a", "0", "A.b_c+d-e", "my..box", "a" + strings.Repeat(".", 100), "_a", "+a", "-a", ".a", "...", "_", "+"} {
		if !container.ValidID(id) {
			t.Errorf("%q is refused", id)
		}
	}
	// A record that is being written has a name like the last but one.
	for _, id := range []string{"", ".", "..", "../a", "_/a", "+/../a", ".a/b", "a/b", "/a", "a b", "a\n", "a\x00", "é", "a:b", "a*", "a\\b", ".a.new", strings.Repeat("a", 256)} {
		if container.ValidID(id) {
			t.Errorf("%q is accepted", id)
		}
	}
}

func TestAnIdThatIsAcceptedCanBeRecorded(t *testing.T) {
	t.Parallel()
	// The record is the last thing that prestart writes. An id that it cannot
	// have must be refused before anything is done.
	for _, n := range []int{64, 200, 250, 251, 255} {
		id := strings.Repeat("a", n)
		if !container.ValidID(id) {
			continue
		}
		g := place.Generation{RunDir: filepath.Join(t.TempDir(), "run")}
		if err := container.WriteStart(g, id, container.Start{}); err != nil {
			t.Errorf("an id of %d bytes: %.60v…", n, err)
		}
	}
}

func TestTheStateIsReadUpToItsBound(t *testing.T) {
	t.Parallel()
	fill := func(size int) io.Reader {
		const head = `{"id":"abc","pid":7,"bundle":"/b","x":"`
		return strings.NewReader(head + strings.Repeat("x", size-len(head)-2) + `"}`)
	}
	if _, err := readState(t.Context(), fill(maxStateInput), true); err != nil {
		t.Errorf("at the bound: %.200v", err)
	}
	if _, err := readState(t.Context(), fill(maxStateInput+1), true); err == nil || !strings.Contains(err.Error(), fmt.Sprint(maxStateInput)) {
		t.Errorf("above the bound: %.200v, want an error that names %d", err, maxStateInput)
	}
}

func TestAStateThatNeverEndsIsGivenUp(t *testing.T) {
	t.Parallel()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(50*time.Millisecond))
	defer cancel()
	// Without the deadline this would not return.
	if _, err := readState(ctx, in, true); err == nil || !strings.Contains(err.Error(), "did not close it in time") {
		t.Errorf("%v, want an error", err)
	}
}

func TestAStateThatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := readState(t.Context(), iotest.ErrReader(os.ErrClosed), false); !errors.Is(err, os.ErrClosed) || !strings.Contains(err.Error(), "standard input") {
		t.Errorf("%v, want ErrClosed and where", err)
	}
}

func TestAStateMayComeInPieces(t *testing.T) {
	t.Parallel()
	in := iotest.OneByteReader(strings.NewReader(string(sample(t, "state-runc-prestart.json"))))
	if got, err := readState(t.Context(), in, true); err != nil || got.ID != runcID {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzState(f *testing.F) {
	for _, name := range []string{"state-lcr-sys-prestart.json", "state-lcr-sys-poststop.json", "state-runc-prestart.json", "state-runc-poststop.json"} {
		f.Add(sample(f, name))
	}
	for _, seed := range []string{
		``, `null`, `{}`, `{"id":"abc","pid":-1}`, `{"id":"a\u0000","pid":1e400,"bundle":"/b\n"}`, `{"id":"abc","pid":7,"bundle":"/b","root":"\ud800"}`,
		`{"id":"abc","pid":7,"bundlePath":"/old","annotations":{"x":18446744073709551615}}`, "{\"id\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, strict := range []bool{true, false} {
			st, err := readState(t.Context(), strings.NewReader(string(in)), strict)
			if err != nil {
				line := command.OneLine(err.Error())
				if !strings.HasPrefix(line, "container state on standard input: ") || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
					t.Fatalf("%q: %q", in, line)
				}
				continue
			}
			if !container.ValidID(st.ID) || filepath.Base(st.ID) != st.ID || strings.ContainsAny(st.ID, "/\x00") {
				t.Fatalf("%q: the id is %q", in, st.ID)
			}
			if strict && (st.Pid <= 0 || !filepath.IsAbs(st.Bundle)) {
				t.Fatalf("%q: %+v", in, st)
			}
		}
	})
}
