package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

// Target is where finished files go. Its methods may be called concurrently.
type Target interface {
	// Put makes the file whole in its place, durably, or fails and leaves
	// nothing of it. It may be called again for a file that is there already.
	// It returns the file's place, for people and for Remove.
	Put(ctx context.Context, f *File) (place string, err error)

	// Remove deletes a file and what belongs to it; that it is gone is no error.
	Remove(place string) error

	// Open reads a file that was put there.
	Open(place string) (io.ReadCloser, error)
}

// File is a finished file on its way to the target.
type File struct {
	ClientID, FileID, Name string
	Size                   int64
	SHA256                 [32]byte
	Manifest               []byte // EMQX's JSON, to be kept beside the file

	// Path is a file that holds exactly the content and may be taken by renaming
	// it; empty when there is none.
	Path string

	// Content reads the file from its beginning.
	Content func() io.Reader
}

// layout makes the path of a file below the folder of exports.
type layout func(f *File) string

// parseLayout reads the option of that name.
func parseLayout(text string) (layout, error) {
	if text == layoutEMQX {
		return func(f *File) string {
			p := pair{f.ClientID, f.FileID}
			return path.Join(bucket(p), escape(f.ClientID), escape(f.FileID), f.Name)
		}, nil
	}
	for _, variable := range []string{"${clientid}", "${fileid}", "${name}"} {
		if !strings.Contains(text, variable) {
			return nil, fmt.Errorf("has no %s: files of others would be overwritten", variable)
		}
	}
	sample := strings.NewReplacer("${clientid}", "c", "${fileid}", "f", "${name}", "n").Replace(text)
	for component := range strings.SplitSeq(sample, "/") {
		if component == "" || component == "." || component == ".." || strings.ContainsAny(component, `\:${}%`) {
			return nil, fmt.Errorf("%q is not a relative path of names", text)
		}
	}
	if strings.Contains(path.Dir(text), "${name}") {
		return nil, errors.New("has ${name} in the name of a folder")
	}
	return func(f *File) string {
		return strings.NewReplacer("${clientid}", escape(f.ClientID), "${fileid}", escape(f.FileID), "${name}", f.Name).Replace(text)
	}, nil
}

// The exporter tries the queue in order, and waits longer and longer while the
// target takes nothing.
const (
	exportFirst = 200 * time.Millisecond
	exportLast  = 30 * time.Second

	// passOver is after how many attempts in a row a file no longer holds up
	// those behind it: it, not the target, is what fails.
	passOver = 5
)
