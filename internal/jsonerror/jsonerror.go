// Package jsonerror words the errors of encoding/json for people who know JSON,
// not Go.
package jsonerror

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// Reword returns err in JSON's own terms, and the field that it is about, ""
// for none.
func Reword(err error) (field string, reworded error) {
	var te *json.UnmarshalTypeError
	if errors.As(err, &te) {
		return te.Field, fmt.Errorf("want %s, found %s", kind(te.Type), te.Value)
	}
	// There is no sentinel for the second.
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err.Error() == "unexpected end of JSON input" {
		return "", errors.New("it ends in the middle of its JSON")
	}
	return "", err
}

// Line is Reword in one error.
func Line(err error) error {
	field, err := Reword(err)
	if field != "" {
		return fmt.Errorf("%s: %w", field, err)
	}
	return err
}

// kind is what JSON calls a value that decodes into t.
func kind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "array"
	case reflect.Struct, reflect.Map:
		return "object"
	case reflect.Pointer:
		return kind(t.Elem())
	case reflect.Float32, reflect.Float64:
		return "number"
	default:
		return "whole number"
	}
}
