package strictyaml

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

// Document parses a text of one YAML document; nil when it is empty or faulty.
// A second document is a fault: to pass over it would pass over what somebody
// wrote there, a certificate that is revoked, for instance.
func (r *Reader) Document(text []byte) *yaml.Node {
	if !r.utf8(text) {
		return nil
	}
	var root, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	err := decoder.Decode(&root)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		r.broken(err)
		return nil
	}
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		r.broken(err)
		return nil
	default:
		line := second.Line
		if len(second.Content) > 0 {
			line = second.Content[0].Line
		}
		r.Report(max(line, 1), 1, "", "a second YAML document begins here", "write one document: join the two, and take out the line of three dashes")
		return nil
	}
	if len(root.Content) == 0 {
		return nil
	}
	return root.Content[0]
}

func (r *Reader) broken(err error) {
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	place := yamlLine.FindStringSubmatch(text)
	line, _ := strconv.Atoi(place[1])
	r.Report(max(line, 1), 1, "", "not YAML: "+strings.TrimPrefix(text, place[0]), "check indentation and quotes; a text that begins with *, &, !, %, @ or # needs quotes")
}

// utf8 refuses other encodings. YAML itself would take UTF-16; people who save
// as that by mistake have their other tools fail.
func (r *Reader) utf8(text []byte) bool {
	const remedy = "save the file as UTF-8"
	if bytes.HasPrefix(text, []byte{0xff, 0xfe}) || bytes.HasPrefix(text, []byte{0xfe, 0xff}) {
		r.Report(1, 1, "", "the text is UTF-16", remedy)
		return false
	}
	line := 0
	for row := range bytes.Lines(text) {
		line++
		if !utf8.Valid(row) {
			column := 1
			for len(row) > 0 {
				c, size := utf8.DecodeRune(row)
				if c == utf8.RuneError && size == 1 {
					break
				}
				row, column = row[size:], column+1
			}
			r.Report(line, column, "", "the text is not valid UTF-8", remedy)
			return false
		}
	}
	return true
}
