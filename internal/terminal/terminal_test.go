package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// written is what a reader gets of text, whose pipe is non-blocking or not.
func written(t testing.TB, text []byte, nonBlocking bool) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := unix.SetNonblock(int(w.Fd()), nonBlocking); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer w.Close()
		if n, err := NewWriter(w).Write(text); n != len(text) || err != nil {
			t.Errorf("got %d, %v, want %d", n, err, len(text))
		}
	}()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func TestWhatATerminalCouldActOnIsEscaped(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                        "",
		"plain\n\tcolumns\n":      "plain\n\tcolumns\n",
		"ünï “quoted” 漢字 e\u0301": "ünï “quoted” 漢字 e\u0301",
		"\x1b]0;owned\a\x1b[2J":   `\x1b]0;owned\a\x1b[2J`,
		"one\rtwo\b\v\f\x00":      `one\rtwo\b\v\f\x00`,
		"\x7f\u009b31m":           `\u007f\u009b31m`,
		"\x9b31m\xff":             `\x9b31m\xff`,
		"\u202eevil\u2066\u200b":  `\u202eevil\u2066\u200b`,
		"\U000e0001":              `\udb40\udc01`,
		`\x1b is said already`:    `\x1b is said already`,
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			if got := written(t, []byte(text), false); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestALongTextGoesThroughWhateverThePipe(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a line of a list\n", 20_000)
	for name, nonBlocking := range map[string]bool{"blocking": false, "non-blocking": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := written(t, []byte(long), nonBlocking); got != long {
				t.Errorf("got %d bytes, want %d", len(got), len(long))
			}
		})
	}
}

func TestWithoutAReaderAWriteFails(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	if n, err := NewWriter(w).Write([]byte("x")); n != 0 || !errors.Is(err, unix.EPIPE) {
		t.Errorf("got %d, %v, want EPIPE", n, err)
	}
}

func FuzzJSONStaysWhatItIs(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b[2J", "\x7f\u009b", "\\\x7f", "\U000e0001", "\u202e", "\"quoted\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		got := written(t, data, false)
		if strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("got %q, want nothing that acts", got)
		}
		var again string
		if err := json.NewDecoder(bytes.NewReader([]byte(got))).Decode(&again); err != nil || again != s {
			t.Errorf("got %q, which reads as %q, %v, want %q", got, again, err, s)
		}
	})
}

// A file is no terminal: there is no colour in it, whatever is said.
func TestAWarningInAFileHasNoColour(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := NewWriter(f).Warn("\x1b[2Jmissing\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "\\x1b[2Jmissing\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// On a terminal a warning has one, unless its user does not want any.
func TestAWarningOnATerminalIsRedUnlessNOCOLORSaysOtherwise(t *testing.T) {
	for _, c := range []struct{ noColor, want string }{{"", "\x1b[31mmissing\x1b[0m"}, {"1", "missing"}} {
		t.Run("NO_COLOR="+c.noColor, func(t *testing.T) {
			t.Setenv("NO_COLOR", c.noColor)
			master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer master.Close()
			if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
				t.Fatal(err)
			}
			n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
			if err != nil {
				t.Fatal(err)
			}
			slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer slave.Close()
			if err := NewWriter(slave).Warn("missing"); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 64)
			size, err := master.Read(got)
			if err != nil || string(got[:size]) != c.want {
				t.Errorf("%q, %v, want %q", got[:size], err, c.want)
			}
		})
	}
}
