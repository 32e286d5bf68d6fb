// Package config keeps a container's resource file, device_hook.json: loads
// it, changes lists of records in it, and saves it whole or not at all. It
// knows the order of the lists, not what their records mean; keys and fields
// that it does not know survive a rewrite.
package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"isula.org/isulad-tools/internal/atomicfile"
	"isula.org/isulad-tools/internal/jsonerror"
	"isula.org/isulad-tools/internal/open"
)

// Name is the resource file's name in the container's state directory.
const Name = "device_hook.json"

// maxSize bounds what is read. 128 records of each kind are well below 1 MiB.
const maxSize = 8 << 20

// The lists of the file, in the order in which they are written.
const (
	Binds         = "bindToAdd"
	Devices       = "deviceToAdd"
	ReadIOPS      = "readIops"
	WriteIOPS     = "writeIops"
	ReadBPS       = "readBps"
	WriteBPS      = "writeBps"
	BlkioWeight   = "blkioWeight"
	NetInterfaces = "networkInterfaces"
	NetRoutes     = "networkRoute"
	// The older versions of the tool know nothing of what follows.
	KernelModules = "kernelModules"
	OptionalPaths = "optionalPaths"
	Partitions    = "diskPartitions"
	Selectors     = "deviceSelectors"
	Selected      = "selectedDevices"
)

var keyOrder = []string{
	Binds, Devices, ReadIOPS, WriteIOPS, ReadBPS, WriteBPS, BlkioWeight, NetInterfaces, NetRoutes,
	KernelModules, OptionalPaths, Partitions, Selectors, Selected,
}

// Document is the content of one resource file.
type Document struct {
	dir   string
	lists map[string]json.RawMessage // arrays, of the known keys
	rest  []member                   // all others, as they stood
	dirty bool

	hadSpec bool // the container had a specification, when the file was read

	// The file as it was read or written last, and lists as they were then.
	saved      []byte
	savedLists map[string]json.RawMessage

	decoded map[string]any // by key, a list as List returned it last: one command asks several times
}

type member struct {
	key   string
	value json.RawMessage
}

// Load reads the resource file of the container whose state directory is dir.
// No file means nothing recorded; no directory is fs.ErrNotExist. Errors name the file and what is wrong in it.
func Load(dir string) (*Document, error) {
	d := &Document{dir: dir, hadSpec: hasSpec(dir), lists: map[string]json.RawMessage{}, decoded: map[string]any{}}
	data, err := open.Read(d.path(), maxSize)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: restore it, or remove the container", &fs.PathError{Op: "the container's state directory", Path: dir, Err: fs.ErrNotExist})
		}
		return d, nil
	}
	if err != nil {
		return nil, err
	}
	if err := d.parse(data); err != nil {
		return nil, fmt.Errorf("%s: %w", d.path(), err)
	}
	d.markSaved(data)
	return d, nil
}

func (d *Document) markSaved(data []byte) { d.saved, d.savedLists = data, maps.Clone(d.lists) }

// Revert makes the document what it was when the file was read or written last, if the
// file is that still: a Save that failed may have replaced it, or not.
func (d *Document) Revert() bool {
	data, err := open.Read(d.path(), maxSize)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = nil, nil
	}
	if err != nil || !bytes.Equal(data, d.saved) {
		return false
	}
	d.lists, d.decoded, d.dirty = maps.Clone(d.savedLists), map[string]any{}, false
	return true
}

// Clone returns a document that changes by itself.
func (d *Document) Clone() *Document {
	c := *d
	c.lists, c.decoded = maps.Clone(d.lists), maps.Clone(d.decoded)
	return &c
}

func (d *Document) path() string { return filepath.Join(d.dir, Name) }

func (d *Document) parse(data []byte) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return errors.New("empty file: an interrupted write of an older version; restore it, or write {} to it to forget what was recorded")
	}
	members, err := object(data)
	if err != nil {
		return err
	}
	for _, m := range members {
		// Keys are read in any case, as v0.9 reads them.
		known := slices.IndexFunc(keyOrder, func(key string) bool { return strings.EqualFold(key, m.key) })
		switch {
		case known < 0:
			d.rest = append(d.rest, m)
		case string(m.value) == "null":
			delete(d.lists, keyOrder[known])
		case m.value[0] != '[':
			return fmt.Errorf("%s: not a list", m.key)
		default:
			d.lists[keyOrder[known]] = m.value
		}
	}
	return nil
}

// object splits a JSON object into its members, in order. Their values are not copied.
func object(data []byte) (members []member, err error) {
	if !json.Valid(data) {
		return nil, jsonerror.Line(json.Unmarshal(data, new(any))) // which says where
	}
	rest := bytes.TrimSpace(data)
	if rest[0] != '{' {
		return nil, errors.New("not a JSON object")
	}
	for {
		if rest = bytes.TrimLeft(rest, "{, \t\r\n"); rest[0] == '}' {
			return members, nil
		}
		var m member
		n := valueLen(rest)
		if err := json.Unmarshal(rest[:n], &m.key); err != nil {
			return nil, err
		}
		rest = bytes.TrimLeft(rest[n:], ": \t\r\n")
		n = valueLen(rest)
		m.value, rest = rest[:n:n], rest[n:]
		members = append(members, m)
	}
}

// valueLen is the length of the key or value at the beginning of data, the rest of a valid
// document. What follows it is a comma, a colon, white space, or the end of what holds it.
func valueLen(data []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			depth++
		case depth > 0 && (c == '}' || c == ']'):
			depth--
		case depth == 0 && strings.IndexByte(",: \t\r\n}]", c) >= 0:
			return i
		}
	}
	return len(data)
}

// Has tells whether there is a record in the list at key.
func (d *Document) Has(key string) bool { return d.holds(key) || d.holds(apart(key).key) }

func (d *Document) holds(key string) bool {
	raw := d.lists[key]
	return len(raw) > 2 && len(bytes.TrimSpace(raw[1:len(raw)-1])) > 0
}

// Save writes the file when something changed since Load.
func (d *Document) Save() error {
	if !d.dirty {
		return nil
	}
	data, err := d.encode()
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if err := atomicfile.WriteIf(d.dir, Name, data, 0o600, d.checkNotRemoved); err != nil {
		return fmt.Errorf("save %s: %w", d.path(), err)
	}
	d.dirty = false
	d.markSaved(data)
	return nil
}

// checkNotRemoved returns an error when the container is being removed.
func (d *Document) checkNotRemoved() error {
	if d.hadSpec && !hasSpec(d.dir) {
		return ErrRemoved
	}
	return nil
}

// encode returns the whole content: known lists in their order, then the rest.
func (d *Document) encode() ([]byte, error) {
	var members []member
	for _, key := range keyOrder {
		if d.holds(key) {
			members = append(members, member{key, d.lists[key]})
		}
	}
	return marshal(append(members, d.rest...))
}

// marshal joins members to an object; & < > are escaped, as the older
// versions of the tool do.
func marshal(members []member) ([]byte, error) {
	var b bytes.Buffer
	length := 2
	for _, m := range members {
		length += len(m.key) + len(m.value) + 4
	}
	b.Grow(length)
	b.WriteByte('{')
	for i, m := range members {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(m.key)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		if isAsMarshalled(m.value) {
			b.Write(m.value)
		} else if err := json.Compact(&b, m.value); err != nil {
			return nil, fmt.Errorf("%s: %w", m.key, err)
		}
	}
	b.WriteByte('}')
	if isAsMarshalled(b.Bytes()) {
		return b.Bytes(), nil
	}
	var out bytes.Buffer
	json.HTMLEscape(&out, b.Bytes())
	return out.Bytes(), nil
}

// isAsMarshalled tells whether a value is certainly compact and escaped, as what this tool
// writes mostly is. To go through all of it costs a command as much as to read it.
func isAsMarshalled(value []byte) bool {
	for _, c := range []byte(" \t\r\n<>&\xe2") { // U+2028 and U+2029 begin with the last
		if bytes.IndexByte(value, c) >= 0 {
			return false
		}
	}
	return true
}

// Sweep removes what a save that was killed left in the state directory dir.
// The caller holds the container's lock.
func Sweep(dir string) error { return atomicfile.Sweep(dir, Name) }
