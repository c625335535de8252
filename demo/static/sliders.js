// The template is drawn anew as the value changes; the sliders themselves stay, so a drag goes on.
const read = (event) => {
  const slider = event.target.closest('input[data-key]');
  if (!slider) return false;
  props.value = { ...props.value, [slider.dataset.key]: Number(slider.value) };
  return true;
};
element.addEventListener('input', (event) => {
  event.stopPropagation();
  if (read(event)) trigger('input');
});
element.addEventListener('change', (event) => {
  event.stopPropagation();
  if (read(event)) trigger('release');
});
