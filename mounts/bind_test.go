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
		t.Run(text, func(t *testing.T) {
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
		})
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
		options string
		want    options
	}{
		{"ro", options{readOnly: true}},
		{"rw", options{}},
		{"private", options{propagation: private}},
		{"rprivate", options{propagation: rprivate}},
		{"rslave", options{propagation: rslave}},
		{"rw,rslave", options{propagation: rslave}},
		{"rslave,rw", options{propagation: rslave}},
		{"ro,rprivate", options{readOnly: true, propagation: rprivate}},
		{"private,ro", options{readOnly: true, propagation: private}},
		{"idmap,ro", options{readOnly: true, idmap: true}},
	} {
		t.Run(c.options, func(t *testing.T) {
			if got, err := parseOptions(c.options); err != nil || got != c.want {
				t.Errorf("%q: %+v, %v, want %+v", c.options, got, err, c.want)
			}
		})
	}
	for _, text := range []string{
		"", ",", "rw,", ",rw", "rw,,ro", "rw, ro", "RW", "ro,rw", "rw,rw", "ro,ro", "rslave,private", "rprivate,private",
		"rslave,rslave", "idmap,idmap", "rw,rslave,rprivate", "slave", "shared", "rshared", "noexec", "ro,exec", "rw\n", "bind", "rw;ro", "\x00",
	} {
		if _, err := parseOptions(text); err == nil || err.Error() != "invalid permissions: "+text {
			t.Errorf("%q: %v, want it refused by name", text, err)
		}
	}
}

func FuzzOptions(f *testing.F) {
	for _, seed := range []string{"rw,rslave", "ro", "ro,rw", "", ",", "private,private", "rw,rslave,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, options string) {
		got, err := parseOptions(options)
		names := strings.Split(options, ",")
		slices.Sort(names)
		again, errAgain := parseOptions(strings.Join(names, ","))
		if (err == nil) != (errAgain == nil) || got != again {
			t.Fatalf("%q means something else in another order", options)
		}
		if err == nil && (got.readOnly != slices.Contains(names, "ro") || got.idmap != slices.Contains(names, "idmap") || len(names) > 3 ||
			!slices.Contains([]uintptr{0, private, rprivate, rslave}, got.propagation)) {
			t.Fatalf("%q means %+v", options, got)
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
		t.Run(path, func(t *testing.T) {
			if got := stagingName(path); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		})
	}
}
