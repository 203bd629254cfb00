package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// AWS's bounds of streams: Q60, and what an id is made of.
const (
	LargestStreamFile = 24 << 20
	mostStreamFiles   = 10
	longestStreamID   = 128
	streamIDs         = "a stream's id has 1 to 128 letters, digits, _ and -"
)

// StreamID reports whether a text may be a stream's id.
func StreamID(id string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	return id != "" && len(id) <= longestStreamID && strings.Trim(id, letters) == ""
}

// ReadStreams reads streams that are written as ID=PATH, where a path is a file, or a
// folder whose files it takes by their names. What is written with one id is one
// stream, of which the files have the numbers 0, 1, 2 and so on.
func ReadStreams(written []string) (map[string]map[int][]byte, error) {
	out := map[string]map[int][]byte{}
	for _, text := range written {
		id, path, ok := strings.Cut(text, "=")
		if !ok || path == "" || !StreamID(id) {
			return nil, fmt.Errorf("stream %s: write ID=FILE or ID=FOLDER; %s", text, streamIDs)
		}
		paths, err := filesAt(path)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", id, err)
		}
		if out[id] == nil {
			out[id] = map[int][]byte{}
		}
		for _, p := range paths {
			if len(out[id]) == mostStreamFiles {
				return nil, fmt.Errorf("stream %s: AWS takes %d files in a stream (Q60)", id, mostStreamFiles)
			}
			if out[id][len(out[id])], err = readStreamFile(p); err != nil {
				return nil, fmt.Errorf("stream %s: %w", id, err)
			}
		}
	}
	return out, nil
}

// filesAt is a file, or those of a folder.
func filesAt(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	entries, err := os.ReadDir(path) // by name
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			out = append(out, filepath.Join(path, e.Name()))
		}
	}
	if len(out) == 0 {
		return nil, errors.New(path + " has no files")
	}
	return out, nil
}

func readStreamFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	content, err := io.ReadAll(io.LimitReader(f, LargestStreamFile+1))
	if err == nil && len(content) > LargestStreamFile {
		err = fmt.Errorf("%s has more than the %d bytes that AWS takes (Q60)", path, LargestStreamFile)
	}
	return content, err
}
