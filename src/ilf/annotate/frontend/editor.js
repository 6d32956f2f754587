// The refinement's editor: CodeMirror with Python, a live diff against the wrong program, and a marked line.
import { closeBrackets, closeBracketsKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentLess, indentMore } from "@codemirror/commands";
import { python } from "@codemirror/lang-python";
import { bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { unifiedMergeView } from "@codemirror/merge";
import { Compartment, EditorState, StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, drawSelection, highlightActiveLine, highlightSpecialChars, keymap, lineNumbers } from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";

const markLine = StateEffect.define();
const markedLine = StateField.define({
  create: () => Decoration.none,
  update(marks, transaction) {
    if (transaction.docChanged) marks = Decoration.none;
    for (const effect of transaction.effects) {
      if (!effect.is(markLine)) continue;
      const known = effect.value && effect.value <= transaction.state.doc.lines;
      marks = known
        ? Decoration.set([Decoration.line({ class: "cm-error-line" }).range(transaction.state.doc.line(effect.value).from)])
        : Decoration.none;
    }
    return marks;
  },
  provide: (field) => EditorView.decorations.from(field),
});

// Tab goes on to the next field, as everywhere on the page; with this it indents, until the setting is taken back.
const TAB_INDENTS = "ilf:tab-indents";
const tabIndents = () => {
  try {
    return localStorage.getItem(TAB_INDENTS) === "yes";
  } catch {
    return false;
  }
};
const tab = (command) => (view) => tabIndents() && command(view);

export function setUpTab(box) {
  box.checked = tabIndents();
  box.addEventListener("change", () => {
    try {
      localStorage.setItem(TAB_INDENTS, box.checked ? "yes" : "no");
    } catch {
      box.checked = false; // this browser keeps nothing
    }
  });
}

const BEYOND = 60_000; // characters: past this a live diff would make typing slow

export function makeEditor(parent, textarea, original, changed) {
  const diff = new Compartment();
  const theme = new Compartment();
  const wrapping = new Compartment();
  let base = original;
  let shown = true;
  const diffOf = () =>
    shown && base.length < BEYOND ? unifiedMergeView({ original: base, mergeControls: false, gutter: true }) : [];
  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const themeOf = () => EditorView.theme({}, { dark: dark() });

  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: textarea.value,
      extensions: [
        EditorView.cspNonce.of(document.querySelector("meta[name=nonce]").content),
        lineNumbers(),
        history(),
        drawSelection(),
        highlightSpecialChars(),
        highlightActiveLine(),
        indentOnInput(),
        bracketMatching(),
        closeBrackets(),
        python(),
        syntaxHighlighting(classHighlighter),
        indentUnit.of("    "),
        EditorState.tabSize.of(4),
        keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, { key: "Tab", run: tab(indentMore), shift: tab(indentLess) }]),
        EditorView.contentAttributes.of({
          "aria-labelledby": "refinement-label",
          "aria-describedby": "refinement-help",
          spellcheck: "false",
          tabindex: "0",
        }),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          textarea.value = update.state.doc.toString();
          changed();
        }),
        markedLine,
        theme.of(themeOf()),
        diff.of(diffOf()),
        wrapping.of([]),
      ],
    }),
  });
  document.addEventListener("theme", () => view.dispatch({ effects: theme.reconfigure(themeOf()) }));
  textarea.hidden = true;
  parent.hidden = false;

  return {
    focus: () => view.focus(),
    has: (element) => view.dom.contains(element),
    text: () => view.state.doc.toString(),
    set(text) {
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
    },
    setOriginal(text) {
      base = text;
      view.dispatch({ effects: diff.reconfigure([]) });
      view.dispatch({ effects: diff.reconfigure(diffOf()) });
    },
    showDiff(yes) {
      shown = yes;
      view.dispatch({ effects: diff.reconfigure(diffOf()) });
    },
    measure: () => view.requestMeasure(),
    wrap: (yes) => view.dispatch({ effects: wrapping.reconfigure(yes ? EditorView.lineWrapping : []) }),
    mark: (line) => view.dispatch({ effects: markLine.of(line) }),
  };
}
