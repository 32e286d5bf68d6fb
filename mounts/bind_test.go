package mounts

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestABindIsAStringOfThreeFields(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Bind{
		"/host:/ctr:rw,rslave": {"/host", "/ctr", "rw,rslave"},
		"/a b:/c\td:ro":        {"/a b", "/c\td", "ro"},
		"/a&<>:/b:":            {"/a&<>", "/b", ""},
		"::":                   {},
		"/é:/\u2028:rw":        {"/é", "/\u2028", "rw"},
	} {
		in, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var got Bind
		if err := json.Unmarshal(in, &got); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
		out, err := json.Marshal(got)
		if err != nil || string(out) != string(in) {
			t.Errorf("%q is written as %s, %v", text, out, err)
		}
	}
	for _, text := range []string{"", "/a", "/a:/b", "/a:/b:rw:x", ":::", "/a:/b:rw\n:"} {
		var b Bind
		err := b.UnmarshalText([]byte(text))
		// As recorded of the old tool, config-bind-two-part-unloadable.
		if want := "Wrong bind format: " + text + ",err bind must have two : in string"; err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzBind(f *testing.F) {
	for _, seed := range []string{"/host:/ctr:rw,rslave", "/a:/b", "", ":::", "/a:/b:ro\x00", "/\xff:/b:rw"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var b Bind
		if err := b.UnmarshalText([]byte(text)); err != nil {
			if strings.Count(text, ":") == 2 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if b.String() != text {
			t.Fatalf("%q is read as %q", text, b)
		}
		now, _, err := resolve(b)
		if now != b {
			t.Fatalf("%q is resolved to %q", text, now)
		}
		if err == nil && (b.Host[0] != '/' || b.Container[0] != '/') {
			t.Fatalf("%q is accepted", text)
		}
	})
}

const (
	private  = unix.MS_PRIVATE
	rprivate = unix.MS_PRIVATE | unix.MS_REC
	rslave   = unix.MS_SLAVE | unix.MS_REC
)

func TestOptionsAreSets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		options     string
		readOnly    bool
		propagation uintptr
	}{
		{"ro", true, 0},
		{"rw", false, 0},
		{"private", false, private},
		{"rprivate", false, rprivate},
		{"rslave", false, rslave},
		{"rw,rslave", false, rslave},
		{"rslave,rw", false, rslave},
		{"ro,rprivate", true, rprivate},
		{"private,ro", true, private},
	} {
		readOnly, propagation, err := parseOptions(c.options)
		if err != nil || readOnly != c.readOnly || propagation != c.propagation {
			t.Errorf("%q: %v, %#x, %v, want %v, %#x", c.options, readOnly, propagation, err, c.readOnly, c.propagation)
		}
	}
	for _, options := range []string{
		"", ",", "rw,", ",rw", "rw,,ro", "rw, ro", "RW", "ro,rw", "rw,rw", "ro,ro", "rslave,private", "rprivate,private",
		"rslave,rslave", "rw,rslave,rprivate", "slave", "shared", "rshared", "noexec", "ro,exec", "rw\n", "bind", "rw;ro", "\x00",
	} {
		if _, _, err := parseOptions(options); err == nil || err.Error() != "invalid permissions: "+options {
			t.Errorf("%q: %v, want it refused by name", options, err)
		}
	}
}

func FuzzOptions(f *testing.F) {
	for _, seed := range []string{"rw,rslave", "ro", "ro,rw", "", ",", "private,private", "rw,rslave,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, options string) {
		readOnly, propagation, err := parseOptions(options)
		names := strings.Split(options, ",")
		slices.Sort(names)
		again, same, errAgain := parseOptions(strings.Join(names, ","))
		if (err == nil) != (errAgain == nil) || readOnly != again || propagation != same {
			t.Fatalf("%q means something else in another order", options)
		}
		if err != nil {
			if readOnly || propagation != 0 {
				t.Fatalf("%q is refused, and means %v, %#x", options, readOnly, propagation)
			}
			return
		}
		if readOnly != slices.Contains(names, "ro") || len(names) > 2 || !slices.Contains([]uintptr{0, private, rprivate, rslave}, propagation) {
			t.Fatalf("%q means %v, %#x", options, readOnly, propagation)
		}
	})
}

func TestRelativePathsAreRefusedByName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		bind Bind
		want string
	}{
		{Bind{"host", "/c", "rw"}, `"host"`},
		{Bind{"", "/c", "rw"}, `""`},
		{Bind{"/h", "c", "rw"}, `"c"`},
		{Bind{"/h", "", "rw"}, `""`},
		{Bind{"./h", "/c", "rw"}, `"./h"`},
		{Bind{"/h", "/c", "rwx"}, "invalid permissions: rwx"},
	} {
		if _, _, err := resolve(c.bind); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want one that names %s", c.bind, err, c.want)
		}
	}
}

func TestAContainerPathIsUsedOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		binds []Bind
		want  error
	}{
		{nil, nil},
		{[]Bind{{"/a", "/x", "rw"}, {"/b", "/y", "rw"}}, nil},
		{[]Bind{{"/a", "/x", "rw"}, {"/a", "/y", "rw"}}, nil},
		{[]Bind{{"/a", "/x", "rw"}, {"/a", "/x/y", "rw"}}, nil},
		{[]Bind{{"/a", "/x", "rw"}, {"/b", "/x", "rw"}}, ErrSameTarget},
		{[]Bind{{"/a", "/x", "rw"}, {"/a", "/x", "rw"}}, ErrSameTarget},
		{[]Bind{{"/a", "/x", "rw"}, {"/b", "/x/", "rw"}}, ErrSameTarget},
		{[]Bind{{"/a", "/x/y", "rw"}, {"/b", "/x/./z/../y", "rw"}}, ErrSameTarget},
	} {
		if err := Check(c.binds); !errors.Is(err, c.want) {
			t.Errorf("%v: %v, want %v", c.binds, err, c.want)
		}
	}
}

func TestTransferMountsAreNamedAsTheOldToolDoes(t *testing.T) {
	t.Parallel()
	// sha256sum of the cleaned path: mounts of a container that the old tool
	// started are found, and replaced, by name.
	for path, want := range map[string]string{
		"/goldhost/dir":   "102420385b5defcef6f0e3a9d24e18d2a5cba3575b3cd233868194f74273f814",
		"/goldhost//dir/": "102420385b5defcef6f0e3a9d24e18d2a5cba3575b3cd233868194f74273f814",
		"/":               "8a5edab282632443219e051e4ade2d1d5bbc671c781051bf1437897cbdfea0f1",
	} {
		if got := sha(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
