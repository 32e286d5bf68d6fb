package config

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// oldFile is the file as the old tool decodes it, but for the records'
// fields: those are the kinds' business.
type oldFile struct {
	BindToAdd         []json.RawMessage `json:"bindToAdd,omitempty"`
	DeviceToAdd       []json.RawMessage `json:"deviceToAdd,omitempty"`
	ReadIops          []json.RawMessage `json:"readIops,omitempty"`
	WriteIops         []json.RawMessage `json:"writeIops,omitempty"`
	ReadBps           []json.RawMessage `json:"readBps,omitempty"`
	WriteBps          []json.RawMessage `json:"writeBps,omitempty"`
	BlkioWeight       []json.RawMessage `json:"blkioWeight,omitempty"`
	NetworkInterfaces []json.RawMessage `json:"networkInterfaces,omitempty"`
	NetworkRoute      []json.RawMessage `json:"networkRoute,omitempty"`
}

// FuzzDocument: whatever stands in the file is refused in one line that names
// it, or is, after a rewrite, the same to the old tool and to every other
// reader of JSON.
func FuzzDocument(f *testing.F) {
	for _, seed := range []string{
		``, ` `, `null`, `{}`, `[]`, `{not json`, `{"bindToAdd":["/a:/b:rw,rslave"]}`,
		`{"deviceToAdd":[{"Type":"b","Minor":0,"Major":8,"PathOnHost":"/dev/sda","PathInContainer":"/dev/sdx","CgroupPermissions":"rwm","Parent":""}]}`,
		`{"readIops":[{"major":8,"minor":0,"path":"/dev/sda","value":"1000"}],"futureField":18446744073709551615}`,
		`{"networkInterfaces":[{"Ip":"","Mac":"","Mtu":1500}],"networkRoute":[{"dest":"","gw":"1.2.3.4"}],"x":1e400}`,
		`{"bindToAdd":[null]}`, `{"bindToAdd":null}`, `{"a":1,"a":2}`, "{\"a\":\"\u2028<>&\\ud800\"}", `{"bindToAdd":["a"],"bindToAdd":[]}`,
		"{\"\xff\":\"\xff\"}", `{"bindToAdd":[[]],"readIops":[[[]]]}`, `{"bindToAdd":["\u0000"],"<&>":{"":[[[[]]]]}}`, `{}{}`, `{"a":01}`, `{"bindToAdd":[" ",{},[],1e999]}`,
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		file := filepath.Join(dir, Name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Load(dir)
		if err != nil {
			if !strings.HasPrefix(err.Error(), file+": ") || strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("%q is refused with %q", content, err)
			}
			return
		}
		for _, key := range keyOrder {
			if _, err := List[device](d, key); err != nil && !strings.HasPrefix(err.Error(), file+": "+key+"[") && !strings.HasPrefix(err.Error(), file+": "+apart(key).key+"[") {
				t.Fatalf("%q: list %s: %q", content, key, err)
			}
		}
		members, err := d.encode()
		if err != nil {
			t.Fatalf("%q cannot be written: %v", content, err)
		}
		sameObject(t, content, members)
		again := &Document{dir: dir, lists: map[string]json.RawMessage{}}
		if err := again.parse(members); err != nil {
			t.Fatalf("%q is written as %q, which is refused: %v", content, members, err)
		}
		twice, err := again.encode()
		if err != nil || !bytes.Equal(members, twice) {
			t.Fatalf("%q is written as %q, then as %q, %v", content, members, twice, err)
		}
	})
}

// sameObject compares two contents of the file.
func sameObject(t *testing.T, before, after []byte) {
	t.Helper()
	var was, is oldFile
	if err := json.Unmarshal(before, &was); err == nil {
		if err := json.Unmarshal(after, &is); err != nil {
			t.Fatalf("%q is written as %q, which the old tool refuses: %v", before, after, err)
		}
		if diff := cmp.Diff(canonical(t, was), canonical(t, is)); diff != "" {
			t.Fatalf("%q is written as %q, to the old tool (-before +after)\n%s", before, after, diff)
		}
	}
	if diff := cmp.Diff(others(t, before), others(t, after)); diff != "" {
		t.Fatalf("%q is written as %q, other keys (-before +after)\n%s", before, after, diff)
	}
}

// canonical is v as compact JSON.
func canonical(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// others are the unknown members, the last of each key, numbers as written.
func others(t *testing.T, content []byte) map[string]any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(content))
	dec.UseNumber()
	var all map[string]any
	if err := dec.Decode(&all); err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(all, func(key string, _ any) bool {
		return slices.ContainsFunc(keyOrder, func(known string) bool { return strings.EqualFold(key, known) })
	})
	return all
}
