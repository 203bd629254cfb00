package policytest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/ebbgate/ebbgate/policy"
)

const (
	maxDocument = 1 << 20   // bytes of a document, certificate or YAML file
	maxRows     = 256 << 20 // bytes of a .jsonl file
)

// ReadFile reads the cases of a file by the ending of its name. Faults say
// which rows are none; an error that is no [policy.Faults] that there are no
// cases at all.
func ReadFile(path string) ([]*Case, error) {
	var cases []*Case
	var faults policy.Faults
	switch ending := strings.ToLower(filepath.Ext(path)); ending {
	case ".jsonl", ".ndjson":
		text, err := readFile(path, maxRows)
		if err != nil {
			return nil, fmt.Errorf("%s: %s; name a file that can be read", path, reason(err))
		}
		cases, faults = ReadJSONL(path, text)
	case ".yaml", ".yml":
		text, err := readFile(path, maxDocument)
		if err != nil {
			return nil, fmt.Errorf("%s: %s; name a file that can be read", path, reason(err))
		}
		cases, faults = ReadYAML(path, text)
	default:
		return nil, fmt.Errorf("%s: a file of tests ends in .jsonl or .yaml; rename it, or name another", path)
	}
	if len(faults) > 0 {
		return cases, faults
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("%s: there is no case in it; write some, or leave the file out", path)
	}
	return cases, nil
}

// readFile reads at most limit bytes. Standard input and other pipes will do.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, errors.New("it is a folder")
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	return text, err
}

// reason is an error without the path, which stands before it already.
func reason(err error) string {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err.Error()
	}
	return err.Error()
}
