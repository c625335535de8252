// Ctrl+Z and Ctrl+Shift+Z (with Command on a Mac) press Undo and Redo. A text field keeps its own.
() => document.addEventListener('keydown', (event) => {
  if (event.key.toLowerCase() !== 'z' || !(event.ctrlKey || event.metaKey) || event.altKey) return;
  const text = 'textarea, input:not([type=range], [type=radio], [type=checkbox]), [contenteditable]';
  const button = document.querySelector(event.shiftKey ? '#redo' : '#undo');
  if (event.target.closest?.(text) || !button?.checkVisibility()) return;
  event.preventDefault();
  if (!event.repeat) button.click();
})
