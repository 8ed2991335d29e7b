#include "image.h"
#include "problem.h"

#ifndef EDGEKD_JPEG
namespace edgekd {
Image decode_jpeg(const std::string&, const std::string& path) {
  throw Problem("environment", "this program was built without libjpeg", path, "", "install libjpeg-dev and build it again, or give a PNG");
}
}  // namespace edgekd
#else

#include <cstdio>  // before jpeglib.h, which needs FILE

#include <jerror.h>
#include <jpeglib.h>

#include <csetjmp>
#include <cstring>

namespace edgekd {
namespace {

constexpr char kBroken[] = "not a readable image (corrupt, truncated, or no image at all)";

struct Errors {
  jpeg_error_mgr base;  // first, so that libjpeg's pointer is ours
  char words[JMSG_LENGTH_MAX];
  std::jmp_buf back;
};

void on_error(j_common_ptr cinfo) {
  auto* errors = reinterpret_cast<Errors*>(cinfo->err);
  errors->base.format_message(cinfo, errors->words);
  std::longjmp(errors->back, 1);
}

// libjpeg invents the rest of a file that is cut short; that is no picture anyone took.
void on_message(j_common_ptr cinfo, int level) {
  if (level < 0 && cinfo->err->msg_code == JWRN_JPEG_EOF) on_error(cinfo);
}

struct Decoded {
  Image image;
  int orientation = 1;
  bool supported = true;
};

// Nothing with a destructor may be made in here: errors leave by longjmp.
bool decode(Errors& errors, jpeg_decompress_struct& cinfo, const std::string& bytes, Decoded& out) {
  if (setjmp(errors.back)) return false;
  jpeg_create_decompress(&cinfo);
  jpeg_mem_src(&cinfo, reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data())), bytes.size());
  jpeg_save_markers(&cinfo, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(&cinfo, TRUE);
  out.image.width = static_cast<int>(cinfo.image_width), out.image.height = static_cast<int>(cinfo.image_height);
  out.supported = cinfo.num_components == 1 || cinfo.num_components == 3;
  if (!out.supported || int64_t{out.image.width} * out.image.height > kMostPixels) return true;
  for (jpeg_saved_marker_ptr marker = cinfo.marker_list; marker; marker = marker->next) {
    if (marker->data_length > 6 && std::memcmp(marker->data, "Exif\0\0", 6) == 0) {
      out.orientation = exif_orientation(marker->data + 6, marker->data_length - 6);
      break;
    }
  }
  cinfo.out_color_space = cinfo.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_start_decompress(&cinfo);
  const size_t row = size_t(cinfo.output_width) * static_cast<size_t>(cinfo.output_components);
  out.image.rgb.resize(size_t(cinfo.output_width) * cinfo.output_height * 3);
  while (cinfo.output_scanline < cinfo.output_height) {
    JSAMPROW line = out.image.rgb.data() + size_t(cinfo.output_scanline) * cinfo.output_width * 3;
    jpeg_read_scanlines(&cinfo, &line, 1);
    if (row != size_t(cinfo.output_width) * 3)  // grey: spread in place, from the end
      for (size_t x = cinfo.output_width; x-- > 0;) line[3 * x] = line[3 * x + 1] = line[3 * x + 2] = line[x];
  }
  jpeg_finish_decompress(&cinfo);
  return true;
}

}  // namespace

Image decode_jpeg(const std::string& bytes, const std::string& path) {
  Errors errors{};
  jpeg_decompress_struct cinfo{};
  cinfo.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = on_error;
  errors.base.emit_message = on_message;
  Decoded decoded;
  const bool good = decode(errors, cinfo, bytes, decoded);
  jpeg_destroy_decompress(&cinfo);
  if (!good) throw Problem("input", kBroken, path, errors.words, "replace or remove the file; an image viewer will likely refuse it too");
  check_size(decoded.image.width, decoded.image.height, path);
  if (!decoded.supported) throw Problem("input", "only grey and RGB JPEG files are read", path, "four colour components", "save it as RGB");
  return upright(std::move(decoded.image), decoded.orientation);
}

}  // namespace edgekd
#endif
