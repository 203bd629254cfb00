package lint

import (
	"encoding/json"
	"io"
	"net/url"
	"path/filepath"
	"strings"
)

// The parts of SARIF 2.1.0 that a linter needs.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		InformationURI string      `json:"informationUri"`
		Version        string      `json:"version,omitempty"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID         string            `json:"id"`
		Short      sarifText         `json:"shortDescription"`
		Full       sarifText         `json:"fullDescription"`
		Help       sarifText         `json:"help"`
		Defaults   sarifLevel        `json:"defaultConfiguration"`
		Properties map[string]string `json:"properties"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifLevel struct {
		Level string `json:"level"`
	}
	sarifResult struct {
		RuleID       string             `json:"ruleId"`
		RuleIndex    int                `json:"ruleIndex"`
		Level        string             `json:"level"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
		Properties   map[string]string  `json:"properties"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn"`
		EndLine     int `json:"endLine,omitempty"`
		EndColumn   int `json:"endColumn,omitempty"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification"`
	}
)

// levels are SARIF's for the severities.
var levels = map[Severity]string{Low: "note", Medium: "warning", High: "error", Critical: "error"}

// scores rank results where a reader of SARIF shows security findings.
var scores = map[Severity]string{Low: "2.0", Medium: "5.0", High: "7.5", Critical: "9.5"}

// WriteSARIF prints a SARIF 2.1.0 log. What is suppressed is in it, marked so.
func WriteSARIF(w io.Writer, r *Report, from Severity, version string) error {
	run := sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "ebbgate policy lint", InformationURI: "https://github.com/ebbgate/ebbgate/blob/main/docs/lint.md", Version: version}
	index := map[string]int{}
	for i, rule := range Rules() {
		index[rule.ID] = i
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
			ID: rule.ID, Short: sarifText{rule.Title}, Full: sarifText{rule.Why}, Help: sarifText{"Fix: " + rule.Fix},
			Defaults: sarifLevel{levels[rule.Severity]}, Properties: map[string]string{"severity": rule.Severity.String(), "security-severity": scores[rule.Severity]},
		})
	}
	suppressed := Report{Findings: r.Suppressed}
	for _, f := range append(r.From(from), suppressed.From(from)...) {
		run.Results = append(run.Results, f.sarif(index[f.Rule]))
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}})
}

func (f *Finding) sarif(rule int) sarifResult {
	text := f.Title + ": " + f.Message
	for _, e := range f.Examples {
		text += "\n- " + e.String()
	}
	text += "\nFix: " + f.Fix
	out := sarifResult{RuleID: f.Rule, RuleIndex: rule, Level: levels[f.Severity], Message: sarifText{text}, Properties: map[string]string{"severity": f.Severity.String(), "policy": f.Policy}}
	place := sarifPhysical{Artifact: sarifArtifact{fileURI(f.File)}}
	switch {
	case f.FileLine > 0: // the document is a string in the file
		place.Region = &sarifRegion{StartLine: f.FileLine, StartColumn: f.FileColumn}
	case f.Line > 0:
		place.Region = &sarifRegion{f.Line, f.Column, f.EndLine, f.EndColumn}
	}
	out.Locations = []sarifLocation{{place}}
	if f.Suppressed != "" {
		out.Suppressions = []sarifSuppression{{Kind: "external", Justification: f.Suppressed}}
	}
	return out
}

// fileURI is a path as a reference, relative as it was given.
func fileURI(path string) string {
	u := url.URL{Path: filepath.ToSlash(path)}
	if filepath.IsAbs(path) {
		u.Scheme = "file"
	}
	return strings.TrimPrefix(u.String(), "./")
}
