// Gradio's front end has sentences of its own, in its own English; visitors read the page's.
// Each is [pattern, sentence]; $1 is what the pattern found.
() => {
  const sentences = SENTENCES.map(([pattern, text]) => [new RegExp(pattern, 'is'), text]);
  const rewrite = (message) => {
    const words = document.createTreeWalker(message, NodeFilter.SHOW_TEXT);
    while (words.nextNode()) {
      const node = words.currentNode;
      for (const [pattern, text] of sentences) {
        if (!pattern.test(node.data)) continue;
        const said = node.data.trim().replace(pattern, text);
        node.data = said[0].toUpperCase() + said.slice(1);
      }
    }
  };
  new MutationObserver(() => document.querySelectorAll('.toast-body').forEach(rewrite))
    .observe(document.body, { childList: true, subtree: true, characterData: true });
}
