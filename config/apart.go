package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// apart names the list whose records with a certain member are kept under a second key,
// where older versions do not find them; "" is of none. To everybody else both are one list,
// the second part last.
func apart(key string) (second struct{ key, member string }) {
	if key == Devices {
		second.key, second.member = Selected, "Select"
	}
	return second
}

// raw is the whole list at key.
func (d *Document) raw(key string) json.RawMessage {
	first, second := d.lists[key], d.lists[apart(key).key]
	switch {
	case !d.holds(apart(key).key):
		return first
	case !d.holds(key):
		return second
	}
	head := bytes.TrimSuffix(bytes.TrimSpace(first), []byte("]"))
	tail := bytes.TrimPrefix(bytes.TrimSpace(second), []byte("["))
	return bytes.Join([][]byte{head, tail}, []byte(","))
}

// at names the record i of the list at key by where it is in the file.
func (d *Document) at(key string, i int) string {
	if second := apart(key).key; d.holds(second) {
		var first []json.RawMessage
		_ = json.Unmarshal(d.lists[key], &first) // there may be none
		if i >= len(first) {
			key, i = second, i-len(first)
		}
	}
	return fmt.Sprintf("%s[%d]", key, i)
}

// setApart makes value the list at key, each record where it belongs.
func (d *Document) setApart(key string, value json.RawMessage) error {
	second := apart(key)
	if !d.holds(second.key) && !bytes.Contains(value, []byte(`"`+second.member+`"`)) {
		d.lists[key] = value
		return nil
	}
	var all, here, there []json.RawMessage
	if err := json.Unmarshal(value, &all); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	for _, record := range all {
		if has(record, second.member) {
			there = append(there, record)
		} else {
			here = append(here, record)
		}
	}
	return errors.Join(d.setRecords(key, here), d.setRecords(second.key, there))
}

func (d *Document) setRecords(key string, records []json.RawMessage) error {
	if records == nil {
		delete(d.lists, key)
		return nil
	}
	value, err := json.Marshal(records)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	d.lists[key] = value
	return nil
}

func has(record json.RawMessage, member string) bool {
	members, err := object(record)
	for _, m := range members {
		if strings.EqualFold(m.key, member) {
			return err == nil && string(m.value) != `""`
		}
	}
	return false
}

// setAs is set of a list that decoded is, in the same order.
func (d *Document) setAs(key string, value json.RawMessage, decoded any) error {
	err := d.set(key, value)
	if err == nil && !d.holds(apart(key).key) {
		d.decoded[key] = decoded
	}
	return err
}
