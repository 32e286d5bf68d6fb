package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"isula.org/isulad-tools/internal/jsonerror"
)

// mostRecords is for how many records there is room at once; a list may have more.
const mostRecords = 128

// List decodes the records at key. An error names the record and the field. The list is
// the document's, too: who changes its records in place makes a copy first.
func List[T any](d *Document, key string) ([]T, error) {
	raw := d.raw(key)
	if raw == nil {
		return nil, nil
	}
	if list, ok := d.decoded[key].([]T); ok {
		return list, nil
	}
	list := make([]T, 0, min(bytes.Count(raw, []byte(","))+1, mostRecords))
	err := json.Unmarshal(raw, &list)
	if err == nil && !bytes.Contains(raw, []byte("null")) {
		list = slices.Clip(list)
		d.decoded[key] = list
		return list, nil
	}
	// Once more, one by one, for what is wrong where.
	var each []json.RawMessage
	if err := json.Unmarshal(raw, &each); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", d.path(), key, err)
	}
	for i, e := range each {
		if string(e) == "null" {
			return nil, fmt.Errorf("%s: %s: null", d.path(), d.at(key, i))
		}
		var v T
		if err := json.Unmarshal(e, &v); err != nil {
			return nil, fmt.Errorf("%s: %s%w", d.path(), d.at(key, i), fieldError(err))
		}
	}
	return list, err
}

// fieldError words a decoding error so that it follows the record's name.
func fieldError(err error) error {
	field, err := jsonerror.Reword(err)
	if field != "" {
		field = "." + field
	}
	return fmt.Errorf("%s: %w", field, err)
}

// Replace puts records in the place of those with these numbers at key. Fields
// that only the old ones have stay.
func Replace[T any](d *Document, key string, records map[int]T) error {
	if len(records) == 0 {
		return nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(d.raw(key), &list); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	for i, v := range records {
		now, err := json.Marshal(v)
		if err == nil {
			list[i], err = overlay(list[i], now)
		}
		if err != nil {
			return fmt.Errorf("%s[%d]: %w", key, i, err)
		}
	}
	value, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return d.set(key, value)
}

// set makes value the list at key.
func (d *Document) set(key string, value json.RawMessage) error {
	delete(d.decoded, key)
	d.dirty = true
	if apart(key).key == "" {
		d.lists[key] = value
		return nil
	}
	return d.setApart(key, value)
}

// Put makes records the list at key; see List. Those that were in it keep the fields that
// T does not have.
func Put[T comparable](d *Document, key string, records []T) error {
	old, err := List[T](d, key)
	if err != nil {
		return err
	}
	if slices.Equal(old, records) {
		return nil
	}
	if n := len(old); n > 0 && n < len(records) && slices.Equal(old, records[:n]) {
		return appendRecords(d, key, n, records)
	}
	var raw []json.RawMessage
	if len(old) > 0 {
		if err := json.Unmarshal(d.raw(key), &raw); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	list := make([]json.RawMessage, len(records))
	for i, r := range records {
		was := slices.Index(old, r)
		if was >= 0 {
			list[i] = raw[was]
		} else if list[i], err = json.Marshal(r); err != nil {
			return fmt.Errorf("%s[%d]: %w", key, i, err)
		}
	}
	value, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return d.setAs(key, value, slices.Clip(records))
}

// appendRecords puts those of records after the first n, which are there, to the end of
// the list at key. What is there is not taken apart: a command that adds one record
// to a hundred would spend most of its time on that.
func appendRecords[T any](d *Document, key string, n int, records []T) error {
	value := slices.Clone(bytes.TrimSuffix(bytes.TrimSpace(d.raw(key)), []byte("]")))
	for i, r := range records[n:] {
		one, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("%s[%d]: %w", key, n+i, err)
		}
		value = append(append(value, ','), one...)
	}
	return d.setAs(key, append(value, ']'), slices.Clip(records))
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
		if !slices.ContainsFunc(members, func(n member) bool { return strings.EqualFold(n.key, m.key) }) {
			members = append(members, m)
		}
	}
	return marshal(members)
}
