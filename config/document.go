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
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"isula.org/isulad-tools/internal/atomicfile"
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
)

var order = []string{Binds, Devices, ReadIOPS, WriteIOPS, ReadBPS, WriteBPS, BlkioWeight, NetInterfaces, NetRoutes}

// Document is the content of one resource file.
type Document struct {
	dir   string
	lists map[string][]json.RawMessage // of the known keys
	rest  []member                     // all others, as they stood
	dirty bool
}

type member struct {
	key   string
	value json.RawMessage
}

// Load reads the resource file of the container whose state directory is dir.
// No file means nothing recorded. Errors name the file and what is wrong in it.
func Load(dir string) (*Document, error) {
	d := &Document{dir: dir, lists: map[string][]json.RawMessage{}}
	data, err := open.Read(d.path(), maxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return nil, err
	}
	if err := d.parse(data); err != nil {
		return nil, fmt.Errorf("%s: %w", d.path(), err)
	}
	return d, nil
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
		if !slices.Contains(order, m.key) {
			d.rest = append(d.rest, m)
			continue
		}
		var list []json.RawMessage
		if err := json.Unmarshal(m.value, &list); err != nil {
			return fmt.Errorf("%s: not a list", m.key)
		}
		for i, e := range list {
			if string(e) == "null" {
				return fmt.Errorf("%s[%d]: null", m.key, i)
			}
		}
		d.lists[m.key] = list
	}
	return nil
}

// object splits a JSON object into its members, in order.
func object(data []byte) ([]member, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	t, err := dec.Token()
	if err != nil {
		return nil, jsonError(err)
	}
	if t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	var members []member
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, jsonError(err)
		}
		var m member
		m.key, _ = t.(string) // an object's keys are strings, or Token had failed
		if err := dec.Decode(&m.value); err != nil {
			return nil, jsonError(err)
		}
		members = append(members, m)
	}
	if _, err := dec.Token(); err != nil {
		return nil, jsonError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return members, nil
}

func jsonError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("ends in the middle of its JSON")
	}
	return err
}

// Len is the number of records in the list at key.
func (d *Document) Len(key string) int { return len(d.lists[key]) }

// List decodes the records at key. An error names the record and the field.
func List[T any](d *Document, key string) ([]T, error) {
	list := make([]T, len(d.lists[key]))
	for i, raw := range d.lists[key] {
		if err := json.Unmarshal(raw, &list[i]); err != nil {
			return nil, fmt.Errorf("%s: %s[%d]%w", d.path(), key, i, fieldError(err))
		}
	}
	return list, nil
}

// fieldError words a decoding error so that it follows the record's name.
func fieldError(err error) error {
	var te *json.UnmarshalTypeError
	if !errors.As(err, &te) {
		return fmt.Errorf(": %w", err)
	}
	if te.Field == "" {
		return fmt.Errorf(": want a %s, found a %s", te.Type.Kind(), te.Value)
	}
	return fmt.Errorf(".%s: want a %s, found a %s", te.Field, te.Type, te.Value)
}

// Replace puts v in the place of record i at key. Fields of that record which
// v does not have stay.
func Replace[T any](d *Document, key string, i int, v T) error {
	now, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s[%d]: %w", key, i, err)
	}
	merged, err := overlay(d.lists[key][i], now)
	if err != nil {
		return fmt.Errorf("%s[%d]: %w", key, i, err)
	}
	d.lists[key][i] = merged
	d.dirty = true
	return nil
}

// overlay returns now with the members that only old has.
func overlay(old, now json.RawMessage) (json.RawMessage, error) {
	then, err := object(old)
	if err != nil {
		return now, nil // a record that is no object has no fields to keep
	}
	members, err := object(now)
	if err != nil {
		return nil, err
	}
	for _, m := range then {
		if !slices.ContainsFunc(members, func(n member) bool { return n.key == m.key }) {
			members = append(members, m)
		}
	}
	return marshal(members)
}

// Save writes the file when something changed since Load.
func (d *Document) Save() error {
	if !d.dirty {
		return nil
	}
	var members []member
	for _, key := range order {
		if list := d.lists[key]; len(list) > 0 {
			value, err := json.Marshal(list)
			if err != nil {
				return err
			}
			members = append(members, member{key, value})
		}
	}
	data, err := marshal(append(members, d.rest...))
	if err != nil {
		return err
	}
	if err := atomicfile.Write(d.dir, Name, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("save %s: %w", d.path(), err)
	}
	d.dirty = false
	return nil
}

// marshal joins members to an object; & < > are escaped, as the older
// versions of the tool do.
func marshal(members []member) ([]byte, error) {
	var b bytes.Buffer
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
		if err := json.Compact(&b, m.value); err != nil {
			return nil, fmt.Errorf("%s: %w", m.key, err)
		}
	}
	b.WriteByte('}')
	var out bytes.Buffer
	json.HTMLEscape(&out, b.Bytes())
	return out.Bytes(), nil
}

// Sweep removes what a save that was killed left in the state directory dir.
// The caller holds the container's lock.
func Sweep(dir string) error { return atomicfile.Sweep(dir, Name) }
