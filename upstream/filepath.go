package upstream

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// FilePath makes the path of a file at a target, with slashes.
type FilePath func(f *bridge.File) string

// ParseFilePath reads a template: a relative path of names, in which ${clientid},
// ${fileid} and ${name} are the file's. So that no two files have one path, all must
// be in it, and a name holds one of them at most: of pump-7-log nobody could say
// whether it is log of pump-7 or 7-log of pump, while no id and no file's name has
// the slash that is between two names.
func ParseFilePath(text string) (FilePath, error) {
	for _, variable := range []string{"${clientid}", "${fileid}", "${name}"} {
		if !strings.Contains(text, variable) {
			return nil, fmt.Errorf("has no %s: files of others would be overwritten", variable)
		}
	}
	for component := range strings.SplitSeq(text, "/") {
		if strings.Count(component, "${") > 1 {
			return nil, fmt.Errorf("has two variables in %s, so that files of two devices could have one path; put a / between them", component)
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
	return func(f *bridge.File) string {
		return strings.NewReplacer("${clientid}", bridge.EscapeID(f.ClientID), "${fileid}", bridge.EscapeID(f.FileID), "${name}", f.Name).Replace(text)
	}, nil
}
