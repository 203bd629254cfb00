package upload

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// EMQXPrefix begins the paths of [EMQX].
const EMQXPrefix = "/api/v5/file_transfer"

// EMQX answers EMQX's HTTP API for exported files, for the tools that know it: the
// list, page by page, that of one transfer, a file's bytes, and the configuration.
// What it does not ask is who calls: that is its listener's part.
type EMQX struct {
	Service *Service // nil: file transfer is not enabled, which is answered with 503
	Node    string   // what this gateway is called
	Config  any      // what the configuration is answered with
}

// Routes are what it answers, by patterns of [http.ServeMux].
func (a *EMQX) Routes() map[string]http.Handler {
	return map[string]http.Handler{
		"GET " + EMQXPrefix + "/files":                     a.enabled(a.list),
		"GET " + EMQXPrefix + "/files/{clientid}/{fileid}": a.enabled(a.one),
		"GET " + EMQXPrefix + "/file":                      a.enabled(a.file),
		EMQXPrefix:                                         http.HandlerFunc(a.config),
	}
}

// The codes of EMQX's errors.
const (
	codeBadRequest = "BAD_REQUEST"
	codeNotFound   = "NOT_FOUND"
	codeNoFiles    = "FILES_NOT_FOUND"
	codeDown       = "SERVICE_UNAVAILABLE"
	codeMethod     = "METHOD_NOT_ALLOWED"
)

func emqxError(w http.ResponseWriter, status int, code, text string) {
	writeJSON(w, status, struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}{code, text})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the reader is gone: nobody to tell
}

func (a *EMQX) enabled(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.Service == nil {
			emqxError(w, http.StatusServiceUnavailable, codeDown, "file transfer is not enabled: set file_transfer.enabled")
			return
		}
		h(w, r)
	})
}

// emqxFile is a file in EMQX's words.
type emqxFile struct {
	ClientID  string          `json:"clientid"`
	FileID    string          `json:"fileid"`
	Name      string          `json:"name"`
	Size      int64           `json:"size"`
	Timestamp string          `json:"timestamp"` // RFC 3339
	URI       string          `json:"uri"`
	Metadata  json.RawMessage `json:"metadata,omitempty"`
}

// emqxFiles is a page of them.
type emqxFiles struct {
	Files  []emqxFile `json:"files"`
	Cursor string     `json:"cursor,omitempty"`
}

// describe tells of files. Their uri is EMQX's: where the target gives out addresses,
// such a one, which needs no gateway; else the path of the bytes here, and so for the
// rest of the list where it gives none.
func (a *EMQX) describe(ctx context.Context, page []Transfer) emqxFiles {
	out, at := emqxFiles{Files: []emqxFile{}}, a.Service.at
	for i := range page {
		t := &page[i]
		f := emqxFile{ClientID: t.ClientID, FileID: t.FileID, Name: t.Name, Timestamp: t.ExportedAt.Format(time.RFC3339), Metadata: t.Metadata}
		if t.Size != nil {
			f.Size = *t.Size
		}
		if at != nil {
			var err error
			if f.URI, err = at.Address(ctx, t.Place); err != nil && !bridge.OfFile(err) { // of another target
				a.Service.deps.Log.Warn("exported files are listed with addresses of the gateway: the store's cannot be made", "error", err)
				at = nil
			}
		}
		if f.URI == "" {
			f.URI = EMQXPrefix + "/file?" + url.Values{"node": {a.Node}, "fileref": {fileRef(t.ClientID, t.FileID)}}.Encode()
		}
		out.Files = append(out.Files, f)
	}
	return out
}

// fileRef names an exported file by its ids, and no path: what is read is what the
// record of that file says, wherever that is.
func fileRef(clientID, fileID string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(pair{clientID, fileID}.key()))
}

func parseFileRef(ref string) (p pair, ok bool) {
	key, err := base64.RawURLEncoding.Strict().DecodeString(ref)
	if err != nil {
		return p, false
	}
	p, ok = parsePair(string(key))
	return p, ok && fileRef(p.client, p.file) == ref // base64's readers leave out line breaks
}

// emqxCursor is where the next page begins: EMQX's node, client id, file id and
// file name of the last entry.
type emqxCursor struct {
	Node     string  `json:"n"`
	ClientID *string `json:"cid"`
	FileID   *string `json:"fid"`
	Name     string  `json:"fn"`
}

// emqxPage is how many files a page has when nobody says.
const emqxPage = 100

func (a *EMQX) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, following := emqxPage, ""
	if q.Has("limit") {
		n, err := strconv.Atoi(q.Get("limit"))
		if err != nil || n < 1 {
			emqxError(w, http.StatusBadRequest, codeBadRequest, "limit: write a whole number from 1")
			return
		}
		limit = n // a page ends at MostListed all the same
	}
	if q.Has("following") {
		var c emqxCursor
		if json.Unmarshal([]byte(q.Get("following")), &c) != nil || c.ClientID == nil || c.FileID == nil {
			emqxError(w, http.StatusBadRequest, codeBadRequest, "following: not a cursor that an earlier page has given")
			return
		}
		following = pair{*c.ClientID, *c.FileID}.key()
	}
	page, next, err := a.Service.Exported(following, limit)
	if err != nil {
		emqxError(w, http.StatusServiceUnavailable, codeDown, err.Error())
		return
	}
	out := a.describe(r.Context(), page)
	if next != "" {
		last := &page[len(page)-1]
		cursor, err := json.Marshal(emqxCursor{a.Node, &last.ClientID, &last.FileID, last.Name})
		if err != nil { // texts
			panic("upload: cursor: " + err.Error())
		}
		out.Cursor = string(cursor)
	}
	writeJSON(w, http.StatusOK, out)
}

func (a *EMQX) one(w http.ResponseWriter, r *http.Request) {
	e, err := a.Service.exportedOf(pair{r.PathValue("clientid"), r.PathValue("fileid")})
	switch {
	case err != nil:
		emqxError(w, http.StatusServiceUnavailable, codeDown, err.Error())
	case e == nil:
		emqxError(w, http.StatusNotFound, codeNoFiles, "no file has been exported for this transfer")
	default:
		writeJSON(w, http.StatusOK, a.describe(r.Context(), []Transfer{a.Service.exportedView(e)}))
	}
}

func (a *EMQX) file(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for _, name := range []string{"node", "fileref"} {
		if !q.Has(name) {
			emqxError(w, http.StatusBadRequest, codeBadRequest, name+" is missing: take the uri of a listed file")
			return
		}
	}
	if q.Get("node") != a.Node {
		emqxError(w, http.StatusServiceUnavailable, codeDown, "there is no such node: this one is "+a.Node)
		return
	}
	p, ok := parseFileRef(q.Get("fileref"))
	if !ok {
		emqxError(w, http.StatusNotFound, codeNotFound, "there is no such file")
		return
	}
	t, in, err := a.Service.Read(r.Context(), p.client, p.file)
	switch {
	case errors.Is(err, ErrUnknown):
		emqxError(w, http.StatusNotFound, codeNotFound, "there is no such file")
	case errors.Is(err, ErrTaken):
		emqxError(w, http.StatusNotFound, codeNotFound, err.Error())
	case err != nil:
		emqxError(w, http.StatusServiceUnavailable, codeDown, err.Error())
	default:
		defer func() { _ = in.Close() }() // only read
		t.head(w.Header())
		w.Header().Set("Content-Type", "application/data")
		w.Header().Set("Content-Length", strconv.FormatInt(*t.Size, 10))
		if r.Method == http.MethodHead {
			return // the content may cross a link that costs
		}
		_, _ = io.Copy(w, in) // what is cut short the reader sees by the length
	}
}

// head are the headers of a file that is read: a browser is to save it, whatever it
// is, and never to show it as a page of this server.
func (t *Transfer) head(h http.Header) {
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": t.Name}))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("ETag", `"`+t.SHA256+`"`)
}

func (a *EMQX) config(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		writeJSON(w, http.StatusOK, a.Config)
	default:
		w.Header().Set("Allow", "GET, HEAD")
		emqxError(w, http.StatusMethodNotAllowed, codeMethod, "the configuration is a file: change file_transfer there and restart the gateway")
	}
}

// EMQXConfig are the options in the words of EMQX's configuration. exporter is
// what stands at storage.local.exporter.
func EMQXConfig(o Options, exporter map[string]any) map[string]any {
	return map[string]any{
		"enable": o.Enabled, "assemble_timeout": o.AssembleTimeout.String(),
		"storage": map[string]any{"local": map[string]any{
			"enable": true,
			"segments": map[string]any{"root": o.Dir, "gc": map[string]any{
				"interval": sweepEvery.String(), "minimum_segments_ttl": o.MinTTL.String(), "maximum_segments_ttl": o.MaxTTL.String(),
			}},
			"exporter": exporter,
		}},
	}
}

// ServeContent answers with an exported file from the byte on that Range asks for,
// which may only be "bytes=N-": so that a download which was cut goes on. What
// If-Match names must be its SHA-256.
func (s *Service) ServeContent(w http.ResponseWriter, r *http.Request, clientID, fileID string) error {
	e, err := s.known(clientID, fileID)
	if err != nil {
		return err
	}
	t := s.exportedView(e)
	if want := strings.Trim(r.Header.Get("If-Match"), `"`); want != "" && want != "*" && want != t.SHA256 {
		http.Error(w, "the file is another one now", http.StatusPreconditionFailed)
		return nil
	}
	from, err := rangeFrom(r.Header.Get("Range"), *t.Size)
	if err != nil {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", *t.Size))
		http.Error(w, err.Error(), http.StatusRequestedRangeNotSatisfiable)
		return nil
	}
	in, err := s.read(r.Context(), e, from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	if from > 0 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, *t.Size-1, *t.Size))
	}
	t.head(w.Header())
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(*t.Size-from, 10))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	if r.Method == http.MethodHead {
		return nil // the content may cross a link that costs
	}
	_, _ = io.CopyN(w, in, *t.Size-from) // what is cut short the reader sees by the length
	return nil
}

// rangeFrom is where a range begins.
func rangeFrom(header string, size int64) (int64, error) {
	if header == "" {
		return 0, nil
	}
	text, ok := strings.CutPrefix(header, "bytes=")
	text, tail, dash := strings.Cut(text, "-")
	from, err := strconv.ParseInt(text, 10, 64)
	if !ok || !dash || tail != "" || err != nil || from < 0 || from > 0 && from >= size {
		return 0, fmt.Errorf("range %q: write bytes=N- with N less than %d", header, size)
	}
	return from, nil
}
