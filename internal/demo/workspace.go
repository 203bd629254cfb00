package demo

import (
	"fmt"
	"os"
	"path/filepath"
)

// workspace is the folder in which a contender lives.
type workspace struct {
	dir  string
	temp bool // ours to remove
}

// newWorkspace makes a folder below dir, or a temporary one when dir is empty.
func newWorkspace(dir, name string) (*workspace, error) {
	if dir == "" {
		made, err := os.MkdirTemp("", "ebbgate-demo-")
		if err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
		return &workspace{dir: made, temp: true}, nil
	}
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return &workspace{dir: path}, nil
}

func (w *workspace) path(name string) string { return filepath.Join(w.dir, name) }

func (w *workspace) write(name, text string) (string, error) {
	path := w.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("demo: %w", err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("demo: %w", err)
	}
	return path, nil
}

// log opens the contender's log, which grows over its restarts.
func (w *workspace) log() (*os.File, error) {
	f, err := os.OpenFile(w.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return f, nil
}

func (w *workspace) remove() error {
	if !w.temp {
		return nil
	}
	return os.RemoveAll(w.dir)
}
