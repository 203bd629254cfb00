package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/internal/partfile"
	"github.com/ebbgate/ebbgate/localbroker/upload"
)

func (f *filesFlags) get() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "get CLIENT FILE", Short: "Fetch an exported file from where it went, and compare its SHA-256", Args: cobra.ExactArgs(2),
		Long: `Fetch an exported file from where it went, and compare its SHA-256. It is written to
OUT.part and gets its name when it is whole and right; what was interrupted goes on
where it was when the same command is given again: OUT.part.json says what it is of.
What is there without that, and what is no file, is left alone. --out - writes to
standard output.

Without --out the file has the name that its device gave it, in this folder, and
nothing that is there is overwritten.`,
		Example: "  ebbgate files get pump-7 log-2031 --out pump.log\n  ebbgate files get pump-7 log-2031 --out - | less",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.gateway()
			if err != nil {
				return err
			}
			t, err := exportedTransfer(cmd.Context(), c, args[0], args[1])
			if err != nil {
				return err
			}
			line := &transferLine{w: cmd.ErrOrStderr()}
			g := &fileGet{transfersClient: c, t: t, progress: line.progress}
			defer line.end()
			if out == "-" {
				return g.pipe(cmd.Context(), cmd.OutOrStdout())
			}
			if out == "" {
				if out, err = g.ownName(); err != nil {
					return err
				}
			}
			if err := g.save(cmd.Context(), out); err != nil {
				return err
			}
			line.end()
			if f.json {
				return printIndented(cmd.OutOrStdout(), map[string]any{"client_id": t.ClientID, "file_id": t.FileID, "size": *t.Size, "path": out, "sha256": t.SHA256, "resumed": g.resumed})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", t.SHA256, out)
			return err
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "where the file goes (default its own name, in this folder); - is standard output")
	return cmd
}

// exportedTransfer finds the exported file.
func exportedTransfer(ctx context.Context, c *transfersClient, client, file string) (*upload.Transfer, error) {
	all, err := c.show(ctx, client, file)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].State == upload.StateExported && all[i].Size != nil {
			return &all[i].Transfer, nil
		}
	}
	return nil, fmt.Errorf("the transfer is %s, and its file not exported yet", all[0].State)
}

// fileGet fetches one exported file.
type fileGet struct {
	*transfersClient
	t        *upload.Transfer
	progress func(done, total int64)
	resumed  int64
}

// ownName is the device's name for the file, if nothing here is called that.
func (g *fileGet) ownName() (string, error) {
	name := g.t.Name
	if name == "" || name != filepath.Base(name) || name == "." || name == ".." || printable(name) != name {
		return "", invalidf("the device calls the file %q: choose a name with --out", name)
	}
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		return "", invalidf("there is a %s here already: choose a name with --out", name)
	}
	return name, nil
}

// pipe writes the file to w.
func (g *fileGet) pipe(ctx context.Context, w io.Writer) error {
	h := sha256.New()
	if err := g.fetch(ctx, 0, io.MultiWriter(w, h)); err != nil {
		return err
	}
	return g.compare(h)
}

// fetched is what is noted of a file beside its part.
type fetched struct {
	ClientID string `json:"client_id"`
	FileID   string `json:"file_id"`
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`
}

// save writes the file to a path, whole or not at all.
func (g *fileGet) save(ctx context.Context, path string) (err error) {
	file, err := partfile.Open(path, 0o600)
	if err != nil {
		return inTheWay(err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	want := fetched{g.t.ClientID, g.t.FileID, *g.t.Size, g.t.SHA256}
	h := sha256.New()
	var was fetched
	if file.Note(&was) && was == want {
		if g.resumed, err = io.Copy(h, file); err != nil {
			return err
		}
	}
	if g.resumed == 0 || g.resumed > want.Size || g.resumed == want.Size && g.compare(h) != nil {
		err = g.begin(ctx, file, want, h)
	} else if err = g.rest(ctx, file, want, h); err == nil && g.compare(h) != nil {
		err = g.begin(ctx, file, want, h) // what was here was not what it had been, as after a power cut
	}
	if err != nil {
		return err
	}
	if err := g.compare(h); err != nil {
		return errors.Join(err, file.Discard())
	}
	return inTheWay(file.Finish())
}

// begin fetches the whole file.
func (g *fileGet) begin(ctx context.Context, file *partfile.File, want fetched, h hash.Hash) error {
	g.resumed = 0
	h.Reset()
	if err := file.Begin(want); err != nil {
		return err
	}
	return g.rest(ctx, file, want, h)
}

// rest fetches what is not there.
func (g *fileGet) rest(ctx context.Context, file *partfile.File, want fetched, h hash.Hash) error {
	if g.resumed == want.Size {
		return nil
	}
	return g.fetch(ctx, g.resumed, io.MultiWriter(file, h))
}

// inTheWay gives what is in the way its exit code.
func inTheWay(err error) error {
	if _, refused := errors.AsType[*partfile.Refused](err); refused {
		return invalidf("%w", err)
	}
	return err
}

// fetch copies what follows a byte to w.
func (g *fileGet) fetch(ctx context.Context, from int64, w io.Writer) error {
	header := http.Header{"If-Match": {`"` + g.t.SHA256 + `"`}}
	if from > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	resp, err := g.request(ctx, http.MethodGet, transferPath(g.t.ClientID, g.t.FileID)+"/content", header)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if from > 0 && resp.StatusCode != http.StatusPartialContent {
		return fmt.Errorf("the gateway answers %s, and not with the rest", resp.Status)
	}
	total := *g.t.Size
	n, err := io.Copy(w, &progressReader{io.LimitReader(resp.Body, total-from), func(n int64) { g.progress(from+n, total) }, 0})
	if err == nil && n != total-from {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("fetch: %w; the same command goes on from byte %d", err, from+n)
	}
	return nil
}

// progressReader tells how much has been read.
type progressReader struct {
	io.Reader
	tell func(int64)
	n    int64
}

// Read implements io.Reader.
func (m *progressReader) Read(b []byte) (int, error) {
	n, err := m.Reader.Read(b)
	m.n += int64(n)
	m.tell(m.n)
	return n, err
}

func (g *fileGet) compare(h hash.Hash) error {
	if got := hex.EncodeToString(h.Sum(nil)); got != g.t.SHA256 {
		return fmt.Errorf("what came has SHA-256 %s, and not %s: the exported file has been changed or damaged", got, g.t.SHA256)
	}
	return nil
}
