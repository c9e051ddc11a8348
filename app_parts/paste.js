// Hands pictures from the clipboard to the page's file uploader, whose limits then apply to them.
export default function () {
  const onPaste = (event) => {
    const pictures = [...event.clipboardData.files].filter((f) => f.type.startsWith("image/"));
    const input = document.querySelector('[data-testid="stFileUploaderDropzoneInput"]');
    if (!pictures.length || !input) return;
    const time = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
    const chosen = new DataTransfer();
    for (const [number, picture] of pictures.entries()) {
      // Browsers call every picture that was copied out of a page image.png.
      const name = picture.name === "image.png" ? `pasted-${time}-${number + 1}.png` : picture.name;
      chosen.items.add(new File([picture], name, { type: picture.type }));
    }
    input.files = chosen.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    event.preventDefault();
  };
  document.addEventListener("paste", onPaste);
  return () => document.removeEventListener("paste", onPaste);
}
